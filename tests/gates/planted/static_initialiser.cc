// What kernel_symbols.sh must catch: code that runs before main, on any processor.
namespace heed::kernels {

struct PlantedTable {
  int number;
};

volatile extern const int source;
static int read_source() { return source; }

extern const PlantedTable table_planted;
const PlantedTable table_planted = {read_source()};

}  // namespace heed::kernels
