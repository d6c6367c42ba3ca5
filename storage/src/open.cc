// Opening and making images of any format, and the files behind them.
#include <fmt/format.h>
#include <sys/stat.h>

#include <set>

#include "dualvm/storage/check.h"
#include "dualvm/storage/image.h"
#include "qcow2_header.h"
#include "qcow2_image.h"
#include "qcow_image.h"
#include "raw_image.h"
#include "tables.h"

namespace dualvm::storage {

namespace {

constexpr std::size_t kLongestChain = 200;

using FileIdentity = std::pair<dev_t, ino_t>;

struct BackingName {
    std::string file;
    std::optional<Format> format;
};

Expected<BackingName> backing_of(File& file, Format format) {
    BackingName name;
    if (format == Format::Qcow) {
        auto header = read_qcow_header(file);
        if (!header) return tl::unexpected(header.error());
        name.file = std::move(header->backing_file);
    } else if (format == Format::Qcow2) {
        auto header = read_qcow2_header(file);
        if (!header) return tl::unexpected(header.error());
        name.file = std::move(header->backing_file);
        if (!header->backing_format.empty()) {
            const auto known = format_from_name(header->backing_format);
            if (!known) return tl::unexpected(known.error());
            name.format = *known;
        }
    }
    return name;
}

// `path`, and what is behind it; `above` are the files in front of it.
Expected<std::unique_ptr<Image>> open_chain(const std::string& path, const OpenOptions& options,
                                            std::set<FileIdentity>& above) {
    struct stat status {};
    if (stat(path.c_str(), &status) == 0 && !above.insert({status.st_dev, status.st_ino}).second) {
        return fail(ExitStatus::BadImage,
                    fmt::format("{} is, by way of its backing files, its own backing file", path));
    }
    if (above.size() > kLongestChain) {
        return fail(ExitStatus::BadImage, fmt::format("more than {} images are behind each other", kLongestChain));
    }
    auto file = HostFile::open(path, {.writable = options.writable, .locked = options.locked});
    if (!file) return tl::unexpected(file.error());
    std::unique_ptr<Image> backing;
    if (options.backing) {
        const auto format = options.format ? Expected<Format>(*options.format) : probe_format(**file);
        if (!format) return tl::unexpected(format.error());
        const auto name = backing_of(**file, *format);
        if (!name) return tl::unexpected(name.error());
        if (!name->file.empty()) {
            if (name->file.starts_with("json:") || name->file.find("://") != std::string::npos) {
                return fail(ExitStatus::BadImage,
                            fmt::format("the backing file of {} is '{}'; dualvm opens files only", path, name->file));
            }
            const OpenOptions behind{.format = name->format, .writable = false, .locked = options.locked};
            auto opened = open_chain(backing_path(path, name->file), behind, above);
            if (!opened) {
                Error error = opened.error();
                error.text += fmt::format(" (the backing file of {})", path);
                return tl::unexpected(error);
            }
            backing = std::move(*opened);
        }
    }
    return open_image_in(std::move(*file), options, std::move(backing));
}

}  // namespace

const char* name_of(Format format) {
    switch (format) {
        case Format::Raw: return "raw";
        case Format::Qcow: return "qcow";
        case Format::Qcow2: return "qcow2";
    }
    return "";
}

const char* name_of(Compression compression) { return compression == Compression::Zlib ? "zlib" : "zstd"; }

Expected<Format> format_from_name(std::string_view name) {
    for (const Format format : {Format::Raw, Format::Qcow, Format::Qcow2}) {
        if (name == name_of(format)) return format;
    }
    return fail(ExitStatus::BadImage, fmt::format("there is no image format '{}': raw, qcow and qcow2 are", name));
}

std::string backing_path(const std::string& image_path, const std::string& backing_file) {
    constexpr std::string_view kFile = "file:";
    const std::string name = backing_file.starts_with(kFile) ? backing_file.substr(kFile.size()) : backing_file;
    const std::size_t slash = image_path.rfind('/');
    if (name.starts_with('/') || slash == std::string::npos) return name;
    return image_path.substr(0, slash + 1) + name;
}

Expected<std::unique_ptr<Image>> open_image(const std::string& path, const OpenOptions& options) {
    std::set<FileIdentity> above;
    return open_chain(path, options, above);
}

Expected<std::unique_ptr<Image>> open_image_in(std::unique_ptr<File> file, const OpenOptions& options,
                                               std::unique_ptr<Image> backing) {
    const auto format = options.format ? Expected<Format>(*options.format) : probe_format(*file);
    if (!format) return tl::unexpected(format.error());
    switch (*format) {
        case Format::Raw: return open_raw(std::move(file), options.writable, !options.format);
        case Format::Qcow: return open_qcow(std::move(file), options.writable, std::move(backing));
        case Format::Qcow2: return open_qcow2(std::move(file), options.writable, std::move(backing));
    }
    return fail(ExitStatus::BadImage, "no such format");
}

u64 default_cluster_size(const CreateOptions& options) {
    if (options.format == Format::Raw) return 0;
    if (options.format == Format::Qcow) return options.backing_file.empty() ? 4096 : 512;
    return options.cluster_size != 0 ? options.cluster_size : 65536;
}

Expected<void> check_create_options(const CreateOptions& options) {
    const auto wrong = [](std::string text) { return fail(ExitStatus::Usage, std::move(text)); };
    if (options.format != Format::Qcow2) {
        const CreateOptions usual;
        if (options.version != usual.version || options.refcount_bits != usual.refcount_bits ||
            options.compression != usual.compression || options.lazy_refcounts || options.cluster_size != 0) {
            return wrong(
                fmt::format("the format {} does not have these options: cluster_size, compat, refcount_bits, "
                            "lazy_refcounts and compression_type are qcow2's",
                            name_of(options.format)));
        }
    }
    if (options.format == Format::Raw && !options.backing_file.empty()) {
        return wrong("a raw image has no backing file: use qcow2");
    }
    if (options.backing_file.size() > kLongestBackingName) {
        return wrong(fmt::format("the name of the backing file has more than {} characters", kLongestBackingName));
    }
    if (options.size > u64{1} << 62) return wrong(fmt::format("{} bytes are too many for an image", options.size));
    if (options.format == Format::Qcow) return check_qcow_options(options);
    if (options.format == Format::Qcow2) return check_qcow2_options(options);
    return {};
}

Expected<void> create_image(File& file, const CreateOptions& options) {
    if (auto possible = check_create_options(options); !possible) return possible;
    switch (options.format) {
        case Format::Raw: return create_raw(file, options);
        case Format::Qcow: return create_qcow(file, options);
        case Format::Qcow2: return create_qcow2(file, options);
    }
    return {};
}

}  // namespace dualvm::storage
