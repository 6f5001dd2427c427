// What kernel_symbols.sh must catch: an inline function whose address is taken is emitted out of
// line, as a weak symbol. The table beside it is as it should be.
namespace heed::kernels {

inline int stray(int x) { return x + 1; }

struct PlantedTable {
  int (*function)(int);
};
extern const PlantedTable table_planted;
extern constinit const PlantedTable table_planted = {stray};

}  // namespace heed::kernels
