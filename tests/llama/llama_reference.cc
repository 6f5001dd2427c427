#include "tests/llama/llama_reference.h"

#include <cmath>
#include <cstddef>

namespace heed::tests {
namespace {

using Vector = std::vector<double>;

/// Takes the weights of a file one after the other: all layers of one kind, then the next kind.
class Weights {
 public:
  explicit Weights(const ModelFile& model) : next_(model.weights.data()) {}

  /// One matrix of these rows for each layer.
  std::vector<std::vector<Vector>> take(std::int32_t layers, std::int32_t rows,
                                        std::int32_t columns) {
    std::vector<std::vector<Vector>> all(static_cast<std::size_t>(layers));
    for (auto& matrix : all) {
      for (std::int32_t row = 0; row < rows; ++row, next_ += columns) {
        matrix.emplace_back(next_, next_ + columns);
      }
    }
    return all;
  }
  void skip(std::int32_t elements) { next_ += elements; }

 private:
  const float* next_;
};

Vector product(const std::vector<Vector>& matrix, const Vector& x) {
  Vector y;
  for (const Vector& row : matrix) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += row[i] * x[i];
    y.push_back(sum);
  }
  return y;
}

Vector normalised(const Vector& x, const Vector& weight) {
  double squares = 0;
  for (const double element : x) squares += element * element;
  const double root = std::sqrt(squares / static_cast<double>(x.size()) + 1e-5);
  Vector y;
  for (std::size_t i = 0; i < x.size(); ++i) y.push_back(weight[i] * x[i] / root);
  return y;
}

/// Turns the pairs (0, 1), (2, 3) … of each head.
void rotate(Vector& x, std::size_t head_dim, std::size_t position) {
  for (std::size_t i = 0; i < x.size(); i += 2) {
    const auto place = static_cast<double>(i % head_dim) / static_cast<double>(head_dim);
    const double angle = static_cast<double>(position) * std::pow(10000.0, -place);
    const double a = x[i], b = x[i + 1];
    x[i] = a * std::cos(angle) - b * std::sin(angle);
    x[i + 1] = a * std::sin(angle) + b * std::cos(angle);
  }
}

/// One query of all heads over all keys so far.
Vector attention(const Vector& q, const std::vector<Vector>& k, const std::vector<Vector>& v,
                 std::size_t head_dim) {
  Vector out(q.size());
  const std::size_t group = q.size() / k.front().size();
  for (std::size_t head = 0; head < q.size() / head_dim; ++head) {
    const std::size_t from = head * head_dim, kv = head / group * head_dim;
    double sum = 0;
    for (std::size_t j = 0; j < k.size(); ++j) {
      double score = 0;
      for (std::size_t x = 0; x < head_dim; ++x) score += q[from + x] * k[j][kv + x];
      const double weight = std::exp(score / std::sqrt(static_cast<double>(head_dim)));
      sum += weight;
      for (std::size_t x = 0; x < head_dim; ++x) out[from + x] += weight * v[j][kv + x];
    }
    for (std::size_t x = 0; x < head_dim; ++x) out[from + x] /= sum;
  }
  return out;
}

void add(const Vector& x, Vector& y) {
  for (std::size_t i = 0; i < x.size(); ++i) y[i] += x[i];
}

}  // namespace

std::vector<double> llama_reference(const ModelFile& m, std::span<const std::int32_t> ids) {
  const std::int32_t dims = m.dim / m.heads, kv_dim = m.kv_heads * dims;
  const auto head_dim = static_cast<std::size_t>(dims);
  Weights weights(m);
  const auto embedding = weights.take(1, m.vocab_size, m.dim).front();
  const auto attention_norm = weights.take(m.layers, 1, m.dim);
  const auto wq = weights.take(m.layers, m.dim, m.dim), wk = weights.take(m.layers, kv_dim, m.dim);
  const auto wv = weights.take(m.layers, kv_dim, m.dim), wo = weights.take(m.layers, m.dim, m.dim);
  const auto feed_norm = weights.take(m.layers, 1, m.dim);
  const auto w1 = weights.take(m.layers, m.hidden_dim, m.dim);
  const auto w2 = weights.take(m.layers, m.dim, m.hidden_dim);
  const auto w3 = weights.take(m.layers, m.hidden_dim, m.dim);
  const auto final_norm = weights.take(1, 1, m.dim).front();
  weights.skip(m.context * dims);
  const auto classifier =
      m.classifier_apart ? weights.take(1, m.vocab_size, m.dim).front() : embedding;

  std::vector<std::vector<Vector>> keys(wq.size()), values(wq.size());
  Vector x;
  for (std::size_t position = 0; position < ids.size(); ++position) {
    x = embedding[static_cast<std::size_t>(ids[position])];
    for (std::size_t layer = 0; layer < wq.size(); ++layer) {
      const Vector in = normalised(x, attention_norm[layer].front());
      Vector q = product(wq[layer], in), k = product(wk[layer], in);
      rotate(q, head_dim, position);
      rotate(k, head_dim, position);
      keys[layer].push_back(k);
      values[layer].push_back(product(wv[layer], in));
      add(product(wo[layer], attention(q, keys[layer], values[layer], head_dim)), x);
      const Vector between = normalised(x, feed_norm[layer].front());
      Vector gate = product(w1[layer], between);
      const Vector up = product(w3[layer], between);
      for (std::size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
      add(product(w2[layer], gate), x);
    }
  }
  return product(classifier, normalised(x, final_norm.front()));
}

}  // namespace heed::tests
