// A disk image: a file that holds a disk, in one of three formats.
//   raw    the sectors one after another, nothing else
//   qcow   version 1 of QEMU's format: a two-level table says where in the file each cluster of the disk is
//   qcow2  versions 2 and 3: the same, and a count of references for every cluster of the file
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dualvm/disk.h"
#include "dualvm/storage/file.h"

namespace dualvm::storage {

enum class Format : u8 { Raw, Qcow, Qcow2 };
enum class Compression : u8 { Zlib, Zstd };

const char* name_of(Format format);
const char* name_of(Compression compression);
Expected<Format> format_from_name(std::string_view name);

struct SnapshotInfo {
    std::string id, name;
    u64 seconds = 0;  // since 1970
    u64 vm_state_bytes = 0;
};

// What the header says. Fields that a format does not have stay as they are here.
struct ImageInfo {
    Format format = Format::Raw;
    u64 size = 0;  // of the disk, in bytes
    u64 cluster_size = 0;
    std::string backing_file;  // as it stands in the header; empty: none
    std::string backing_format;
    // qcow2 only
    unsigned version = 0;
    unsigned refcount_bits = 0;
    Compression compression = Compression::Zlib;
    bool lazy_refcounts = false, dirty = false, corrupt = false;
    std::vector<SnapshotInfo> snapshots;
};

class Image : public Disk {
public:
    virtual const ImageInfo& info() const = 0;
    // From `offset` on; never past the disk's end.
    virtual Expected<Extent> extent(u64 offset) = 0;
    // Whether write_compressed() does anything.
    virtual bool can_compress() const { return false; }
    // One whole cluster that was never written before; stored as it is where compressing does not make it smaller.
    virtual Expected<void> write_compressed(u64 offset, std::span<const u8> cluster) { return write(offset, cluster); }

    u64 size() const { return size_in_sectors() * kSectorSize; }
};

struct OpenOptions {
    // Not given: found out by looking. The guest decides what a raw image looks like, so give it where you know it.
    std::optional<Format> format = {};
    bool writable = false;
    bool locked = true;
    bool backing = true;  // false: only this file; what it does not have reads as zeros
};

// The file at `path` and those behind it.
Expected<std::unique_ptr<Image>> open_image(const std::string& path, const OpenOptions& options);
// One that lies in `file`; backing files are not opened (`backing` is, where the image has one).
Expected<std::unique_ptr<Image>> open_image_in(std::unique_ptr<File> file, const OpenOptions& options,
                                               std::unique_ptr<Image> backing = nullptr);

struct CreateOptions {
    Format format = Format::Raw;
    u64 size = 0;
    // 0: as qemu-img does
    u64 cluster_size = 0;
    std::string backing_file = {}, backing_format = {};
    // qcow2 only
    unsigned version = 3;
    unsigned refcount_bits = 16;
    Compression compression = Compression::Zlib;
    bool lazy_refcounts = false;
};

// Writes an image without contents into an empty file.
Expected<void> create_image(File& file, const CreateOptions& options);
// Whether `options` can be; what is wrong if not. The same is looked at by create_image().
Expected<void> check_create_options(const CreateOptions& options);
u64 default_cluster_size(const CreateOptions& options);

// What the first bytes of the file say. Formats that dualvm cannot read are an error, not raw.
Expected<Format> probe_format(File& file);

// Where a backing file is: relative names are relative to the folder of the image that names them.
std::string backing_path(const std::string& image_path, const std::string& backing_file);

}  // namespace dualvm::storage
