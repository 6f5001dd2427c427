// What not every file system can do. Each function says so with errno.
#pragma once

namespace heed::tools {

/// Exchanges the names of two files in one step. False where the system or the file system cannot,
/// or one of the files is not there.
bool exchange_names(const char* a, const char* b);

/// Gives a file a second name, which must not be there yet. False where the file system cannot.
bool add_name(const char* file, const char* name);

/// Waits until the content of a file, or the names in a folder, are on the disk. True also where
/// the file system knows no such thing; false where the disk failed.
bool flush_to_disk(int descriptor);

}  // namespace heed::tools
