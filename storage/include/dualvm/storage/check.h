// Is an image what its format says it must be?
#pragma once

#include <string>
#include <vector>

#include "dualvm/storage/file.h"
#include "dualvm/storage/image.h"

namespace dualvm::storage {

struct CheckReport {
    u64 corruptions = 0;  // a reader could get wrong data, a writer destroy some
    u64 leaks = 0;        // clusters of the file that nothing refers to: lost space, no harm
    u64 leaks_repaired = 0, corruptions_repaired = 0;
    u64 disk_clusters = 0;                                // of the disk
    u64 allocated_clusters = 0, compressed_clusters = 0;  // of those, in the file; of these, compressed
    u64 image_end = 0;                                    // behind the last byte that is used
    std::vector<std::string> messages;                    // the first kMostMessages of what is wrong
    static constexpr std::size_t kMostMessages = 100;

    void corruption(std::string text);
    void leak(std::string text);
    bool sound() const { return corruptions == corruptions_repaired; }
};

enum class Repair : u8 { Nothing, Leaks, All };

// The format is found out by looking unless it is given. An error where the file can't be read, or has no header that
// one could go by. Repair needs a file that can be written to.
Expected<CheckReport> check_image(File& file, std::optional<Format> format, Repair repair = Repair::Nothing);

}  // namespace dualvm::storage
