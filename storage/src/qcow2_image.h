// qcow2: clusters with a count of references each, so that snapshots can share them.
//
// L1 entry: bits 9-55 offset of an L2 table, bit 63 "copied". L2 entry: bits 9-55 offset of a cluster, bit 0 "reads as
// zeros" (version 3), bit 62 "compressed", bit 63 "copied". Copied means that the count is exactly 1, so that one may
// write in place; what is not copied belongs to a snapshot too.
// Of a compressed cluster, the bits below x = 62 - (cluster_bits - 8) are its offset, those from x to 61 the number of
// further sectors that it lies in.
#pragma once

#include "dualvm/storage/check.h"
#include "dualvm/storage/image.h"

namespace dualvm::storage {

Expected<std::unique_ptr<Image>> open_qcow2(std::unique_ptr<File> file, bool writable, std::unique_ptr<Image> backing);
Expected<void> check_qcow2_options(const CreateOptions& options);
Expected<void> create_qcow2(File& file, const CreateOptions& options);
Expected<CheckReport> check_qcow2(File& file, Repair repair);

}  // namespace dualvm::storage
