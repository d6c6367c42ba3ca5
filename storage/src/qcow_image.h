// qcow, version 1: the format of QEMU 0.6 to 0.8, which `-f qcow` still makes. Its tables say where clusters are, and
// nothing says which are free: new ones go to the end of the file.
//
// Header (big-endian): 0 magic "QFI\xfb", 4 version 1, 8 offset and 16 length of the backing file's name, 20 time of
// its last change, 24 size of the disk, 32 cluster_bits (u8), 33 l2_bits (u8), 36 encryption method, 40 offset of L1.
// L1 entry: offset of an L2 table. L2 entry: offset of a cluster; with bit 63, of compressed data, and the cluster_bits
// bits below bit 63 say how many bytes.
#pragma once

#include "dualvm/storage/check.h"
#include "dualvm/storage/image.h"

namespace dualvm::storage {

struct QcowHeader {
    u64 size = 0;
    unsigned cluster_bits = 0, l2_bits = 0;
    u64 l1_offset = 0, l1_entries = 0;
    std::string backing_file;
};

Expected<QcowHeader> read_qcow_header(File& file);
Expected<std::unique_ptr<Image>> open_qcow(std::unique_ptr<File> file, bool writable, std::unique_ptr<Image> backing);
Expected<void> check_qcow_options(const CreateOptions& options);
Expected<void> create_qcow(File& file, const CreateOptions& options);
Expected<CheckReport> check_qcow(File& file);

}  // namespace dualvm::storage
