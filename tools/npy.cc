#include "tools/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "heed/convert.h"
#include "heed/cpu.h"
#include "heed/tensor_data.h"
#include "tools/npy_header.h"
#include "tools/status.h"

namespace heed::tools {
namespace {

static_assert(std::endian::native == std::endian::little && sizeof(float) == 4);

constexpr std::string_view kMagic("\x93NUMPY", 6);

/// Longer than the header of any array of numbers: NumPy allows 64 dimensions.
constexpr std::size_t kLongestHeader = std::size_t{1} << 20;

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

Status fault(std::string sentence) { return {StatusCode::invalid_argument, std::move(sentence)}; }

class NpyReader {
 public:
  Status open(const std::string& path) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) {
      return fault("is a directory, not an .npy file");
    }
    file_.reset(std::fopen(path.c_str(), "rb"));
    if (file_ == nullptr) return cannot_read();
    const auto bytes = std::filesystem::file_size(path, error);
    if (!error) file_bytes_ = bytes;
    return {};
  }

  Status read(Array& array, Words words) {
    NpyHeader header;
    HEED_RETURN_IF_ERROR(read_header(header));
    HEED_RETURN_IF_ERROR(check_words(header, words));
    std::int64_t count = 0;
    HEED_RETURN_IF_ERROR(count_elements(header.shape, count));
    std::vector<float> data;
    HEED_RETURN_IF_ERROR(read_data(header, static_cast<std::size_t>(count), data));
    if (header.fortran_order) data = to_c_order(header.shape, data);
    array = {std::move(header.shape), std::move(data), type_of(header.numbers),
             header.numbers == NpyNumbers::boolean};
    return {};
  }

 private:
  static Status cannot_read() {
    return fault(fmt::format("cannot be read: {}", std::strerror(errno)));
  }

  std::size_t get(void* bytes, std::size_t count) {
    return std::fread(bytes, 1, count, file_.get());
  }

  Status read_header(NpyHeader& header) {
    std::array<unsigned char, 8> start{};
    const std::size_t got = get(start.data(), start.size());
    if (std::ferror(file_.get()) != 0) return cannot_read();
    const std::string_view magic(reinterpret_cast<const char*>(start.data()),
                                 std::min(got, kMagic.size()));
    if (magic.starts_with("PK\x03\x04")) {
      return fault("must be a single array, not an .npz archive: save it with numpy.save");
    }
    if (magic != kMagic) return fault("must be an .npy file, but does not begin as one");
    if (got < start.size()) return fault("ends within its header");
    const int major = start[6], minor = start[7];
    if (major < 1 || major > 3 || minor != 0) {
      return fault(
          fmt::format("version {}.{} of the .npy format must be 1.0, 2.0 or 3.0", major, minor));
    }
    std::string text;
    HEED_RETURN_IF_ERROR(read_header_text(major == 1 ? 2 : 4, text));
    return parse_npy_header(text, header);
  }

  Status read_header_text(std::size_t length_bytes, std::string& text) {
    std::array<unsigned char, 4> bytes{};
    if (get(bytes.data(), length_bytes) < length_bytes) return fault("ends within its header");
    std::size_t length = 0;
    for (std::size_t i = length_bytes; i-- > 0;) length = length << 8 | bytes[i];
    if (length > kLongestHeader) {
      return fault(
          fmt::format("the length of its header ({}) must be at most {}", length, kLongestHeader));
    }
    text.resize(length);
    if (get(text.data(), length) < length) return fault("ends within its header");
    return {};
  }

  static Status check_words(const NpyHeader& header, Words words) {
    const bool integers = header.numbers == NpyNumbers::uint16;
    if (integers && words == Words::refused) {
      return fault("dtype (uint16) must be a floating-point one; bfloat16 needs --bf16");
    }
    if (integers && words == Words::booleans) {
      return fault("dtype (uint16) must be bool, uint8 or a floating-point one");
    }
    if (header.numbers == NpyNumbers::boolean && words == Words::refused) {
      return fault("dtype (bool or uint8) must be a floating-point one");
    }
    if (!integers && words == Words::bfloat16) {
      return fault("dtype must be uint16, which --bf16 takes for the bits of bfloat16");
    }
    return {};
  }

  /// Memory grows with what the file holds, whatever its header promises.
  Status read_data(const NpyHeader& header, std::size_t count, std::vector<float>& data) {
    constexpr std::size_t kStep = std::size_t{1} << 22;
    const std::size_t size = bytes_of(header.numbers);
    data.reserve(std::min<std::size_t>(count, file_bytes_ / size));
    std::vector<std::byte> bytes;
    while (data.size() < count) {
      const std::size_t begin = data.size(), step = std::min(kStep, count - begin);
      bytes.resize(step * size);
      const std::size_t got = get(bytes.data(), bytes.size());
      if (std::ferror(file_.get()) != 0) return cannot_read();
      if (got < bytes.size()) {
        return fault(fmt::format("has {} bytes of data; shape {} needs {}", begin * size + got,
                                 to_string(header.shape), count * size));
      }
      if (header.big_endian) swap_bytes(bytes, size);
      data.resize(begin + step);
      HEED_RETURN_IF_ERROR(widen(header.numbers, bytes, data.data() + begin));
    }
    if (std::fgetc(file_.get()) == EOF) return {};
    return fault(
        fmt::format("goes on after the {} bytes of data of shape {}: it must hold one array",
                    count * size, to_string(header.shape)));
  }

  static DType type_of(NpyNumbers numbers) {
    return numbers == NpyNumbers::float16  ? DType::f16
           : numbers == NpyNumbers::uint16 ? DType::bf16
                                           : DType::f32;
  }

  static std::size_t bytes_of(NpyNumbers numbers) {
    if (numbers == NpyNumbers::boolean) return 1;
    return numbers == NpyNumbers::float64
               ? sizeof(double)
               : static_cast<std::size_t>(dtype_info(type_of(numbers)).block_bytes);
  }

  static void swap_bytes(std::vector<std::byte>& bytes, std::size_t size) {
    for (auto number = bytes.begin(); number != bytes.end();
         number += static_cast<std::ptrdiff_t>(size)) {
      std::reverse(number, number + static_cast<std::ptrdiff_t>(size));
    }
  }

  static Status widen(NpyNumbers numbers, const std::vector<std::byte>& bytes, float* to) {
    if (numbers == NpyNumbers::float32) {
      if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
      return {};
    }
    if (numbers == NpyNumbers::boolean) {
      for (const std::byte byte : bytes) *to++ = byte == std::byte{0} ? 0.0F : 1.0F;
      return {};
    }
    if (numbers != NpyNumbers::float64) {
      const InputData from(bytes.data(), type_of(numbers));
      RunOptions options;
      const std::vector<IsaInfo> all = isas();
      if (!all.empty()) options.isa = all.back().name;  // files do not depend on HEED_ISA
      return convert(from, to, static_cast<std::int64_t>(bytes.size() / bytes_of(numbers)),
                     options);
    }
    for (std::size_t i = 0; i < bytes.size(); i += sizeof(double)) {
      double number = 0;
      std::memcpy(&number, bytes.data() + i, sizeof number);
      *to++ = static_cast<float>(number);
    }
    return {};
  }

  /// The same array with the last index contiguous instead of the first.
  static std::vector<float> to_c_order(const std::vector<std::int64_t>& shape,
                                       const std::vector<float>& fortran) {
    std::vector<float> data(fortran.size());
    std::vector<std::int64_t> index(shape.size(), 0);
    std::vector<std::size_t> strides;
    std::size_t stride = 1;
    for (const std::int64_t extent : shape) {
      strides.push_back(stride);
      stride *= static_cast<std::size_t>(extent);
    }
    std::size_t from = 0;
    for (float& x : data) {
      x = fortran[from];
      for (std::size_t d = shape.size(); d-- > 0;) {
        from += strides[d];
        if (++index[d] < shape[d]) break;
        from -= strides[d] * static_cast<std::size_t>(shape[d]);
        index[d] = 0;
      }
    }
    return data;
  }

  std::unique_ptr<std::FILE, Close> file_;
  std::uintmax_t file_bytes_ = 0;
};

}  // namespace

Status read_npy(const std::string& path, Array& array, Words words) {
  NpyReader reader;
  Status status = reader.open(path);
  if (status.ok()) status = reader.read(array, words);
  if (status.ok()) return {};
  return {status.code(), fmt::format("{}: {}", path, status.message())};
}

}  // namespace heed::tools
