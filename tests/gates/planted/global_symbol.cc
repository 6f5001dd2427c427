// What kernel_symbols.sh must catch: a global beside the table, and a call out of the kernels.
namespace heed::kernels {

int elsewhere(int x);
int stray_global(int x) { return elsewhere(x); }

struct PlantedTable {
  int (*function)(int);
};
extern const PlantedTable table_planted;
extern constinit const PlantedTable table_planted = {stray_global};

}  // namespace heed::kernels
