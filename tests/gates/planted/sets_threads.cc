// Changes the number of OpenBLAS's threads, which belongs to the whole process.
extern "C" void openblas_set_num_threads(int threads);

void one_thread() { openblas_set_num_threads(1); }
