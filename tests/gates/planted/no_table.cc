// What kernel_symbols.sh must catch: an object without the table that it is for.
namespace heed::kernels {

[[maybe_unused]] static int nothing() { return 0; }

}  // namespace heed::kernels
