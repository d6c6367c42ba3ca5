// dualvm img: makes, describes, checks and copies disk images.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "commands.h"
#include "dualvm/storage/copy.h"
#include "interruption.h"
#include "json_report.h"

namespace dualvm::app {

namespace {

using storage::Format;
using storage::HostFile;
using storage::open_image;

// --- what is said ---

std::string human_size(u64 bytes) {
    constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    std::size_t unit = 0;
    u64 divisor = 1;
    while (unit + 1 < std::size(kUnits) && bytes / divisor >= 1024) {
        divisor *= 1024;
        ++unit;
    }
    return fmt::format("{:.3g} {}", static_cast<double>(bytes) / static_cast<double>(divisor), kUnits[unit]);
}

// --- a new image ---

// A file that gets its name when it is whole. A present one of that name must not be in use, and is not until then.
struct NewImage {
    OutputFile output;
    std::unique_ptr<HostFile> old, file;
};

Expected<NewImage> begin_image(const std::string& path) {
    auto output = OutputFile::create(path);
    if (!output) return tl::unexpected(output.error());
    std::unique_ptr<HostFile> old;
    if (access(path.c_str(), F_OK) == 0) {
        auto opened = HostFile::open(path, {.writable = true});
        if (!opened) return tl::unexpected(opened.error());
        old = std::move(*opened);
    }
    const int fd = output->is_new() ? dup(output->fd()) : -1;
    if (fd < 0) return fail(ExitStatus::BadImage, fmt::format("{} is not a file: an image is made in one", path));
    return NewImage{std::move(*output), std::move(old), HostFile::adopt(fd, path)};
}

Expected<void> finish_image(NewImage& image) {
    if (auto synced = image.file->sync(); !synced) return synced;
    image.old.reset();
    return image.output.commit();
}

std::string formatting(const std::string& path, const storage::CreateOptions& options) {
    std::string text = fmt::format("Formatting '{}', fmt={} size={}", path, name_of(options.format), options.size);
    if (!options.backing_file.empty()) {
        text += fmt::format(" backing_file={} backing_fmt={}", options.backing_file, options.backing_format);
    }
    if (options.format == Format::Qcow2) {
        text += fmt::format(" cluster_size={} compat={} compression_type={} lazy_refcounts={} refcount_bits={}",
                            default_cluster_size(options), options.version == 2 ? "0.10" : "1.1",
                            name_of(options.compression), options.lazy_refcounts ? "on" : "off", options.refcount_bits);
    }
    return text + '\n';
}

Expected<void> create(const ImgOptions& options) {
    storage::CreateOptions create = options.create;
    create.size = options.size.value_or(0);
    // Open to the end: what is behind the new image is not to be replaced by it.
    std::unique_ptr<storage::Image> backing;
    if (!create.backing_file.empty()) {
        const std::string path = storage::backing_path(options.file, create.backing_file);
        std::error_code ignored;
        if (std::filesystem::equivalent(path, options.file, ignored)) {
            return fail(ExitStatus::BadImage,
                        fmt::format("{} would be its own backing file: give the new image another name", options.file));
        }
        if (!options.backing_unchecked) {
            const auto format = storage::format_from_name(create.backing_format);
            if (!format) return tl::unexpected(format.error());
            auto opened = open_image(path, {.format = *format});
            if (!opened) return tl::unexpected(opened.error());
            backing = std::move(*opened);
            if (!options.size) create.size = backing->size();
        }
    }
    // As qemu-img: a disk has whole sectors.
    create.size += (kSectorSize - create.size % kSectorSize) % kSectorSize;
    if (auto possible = check_create_options(create); !possible) return possible;
    auto image = begin_image(options.file);
    if (!image) return tl::unexpected(image.error());
    if (auto created = create_image(*image->file, create); !created) return created;
    if (auto finished = finish_image(*image); !finished) return finished;
    return options.quiet ? Expected<void>{} : print(formatting(options.file, create));
}

// --- convert ---

Expected<void> convert(const ImgOptions& options) {
    const auto from = open_image(options.file, {.format = options.format});
    if (!from) return tl::unexpected(from.error());
    storage::CreateOptions create = options.create;
    create.size = (*from)->size();
    if (auto possible = check_create_options(create); !possible) return possible;
    auto image = begin_image(options.target);
    if (!image) return tl::unexpected(image.error());
    if (auto created = create_image(*image->file, create); !created) return created;
    // The image needs a descriptor of its own: it closes it.
    const int fd = dup(image->output.fd());
    if (fd < 0)
        return fail(ExitStatus::BadImage, fmt::format("cannot write {}: {}", options.target, std::strerror(errno)));
    auto to = open_image_in(HostFile::adopt(fd, options.target), {.format = create.format, .writable = true});
    if (!to) return tl::unexpected(to.error());
    auto copied = copy_disk(**from, **to, options.compressed, [](u64) { return !interrupted(); });
    if (!copied) return copied;
    to->reset();
    return finish_image(*image);
}

// --- info ---

Json info_json(const std::string& path, const storage::ImageInfo& info, u64 allocated) {
    Json json = {{"image", path},
                 {"format", name_of(info.format)},
                 {"virtual_size", info.size},
                 {"disk_size", allocated},
                 {"cluster_size", nullptr},
                 {"backing_file", nullptr},
                 {"backing_format", nullptr}};
    if (info.cluster_size != 0) json["cluster_size"] = info.cluster_size;
    if (!info.backing_file.empty()) json["backing_file"] = info.backing_file;
    if (!info.backing_format.empty()) json["backing_format"] = info.backing_format;
    if (info.format != Format::Qcow2) return json;
    json["version"] = info.version;
    json["refcount_bits"] = info.refcount_bits;
    json["compression_type"] = name_of(info.compression);
    json["lazy_refcounts"] = info.lazy_refcounts;
    json["dirty"] = info.dirty;
    json["corrupt"] = info.corrupt;
    json["snapshots"] = Json::array();
    for (const storage::SnapshotInfo& snapshot : info.snapshots) {
        json["snapshots"].push_back({{"id", snapshot.id},
                                     {"name", snapshot.name},
                                     {"date", snapshot.seconds},
                                     {"vm_state_size", snapshot.vm_state_bytes}});
    }
    return json;
}

std::string info_text(const std::string& path, const storage::ImageInfo& info, u64 allocated) {
    std::string text = fmt::format("image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\ndisk size: {}\n", path,
                                   name_of(info.format), human_size(info.size), info.size, human_size(allocated));
    if (info.cluster_size != 0) text += fmt::format("cluster_size: {}\n", info.cluster_size);
    if (!info.backing_file.empty()) {
        const std::string actual = storage::backing_path(path, info.backing_file);
        text += fmt::format("backing file: {}{}\n", printable(info.backing_file),
                            actual == info.backing_file ? "" : fmt::format(" (actual path: {})", printable(actual)));
    }
    if (!info.backing_format.empty()) text += fmt::format("backing file format: {}\n", printable(info.backing_format));
    if (!info.snapshots.empty()) text += "Snapshot list:\n";
    for (const storage::SnapshotInfo& snapshot : info.snapshots) {
        const auto seconds = static_cast<std::time_t>(snapshot.seconds);
        std::tm utc{};
        gmtime_r(&seconds, &utc);
        char date[32];
        std::strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &utc);
        text += fmt::format("    {:<8} {:<20} {:>10}  {} UTC\n", printable(snapshot.id), printable(snapshot.name),
                            human_size(snapshot.vm_state_bytes), date);
    }
    if (info.format == Format::Qcow2) {
        text += fmt::format(
            "Format specific information:\n    compat: {}\n    compression type: {}\n    lazy refcounts: {}\n"
            "    refcount bits: {}\n    dirty: {}\n    corrupt: {}\n",
            info.version == 2 ? "0.10" : "1.1", name_of(info.compression), info.lazy_refcounts, info.refcount_bits,
            info.dirty, info.corrupt);
    }
    return text;
}

// The text, and the JSON report where one is wanted; with --json=-, standard output is for programs.
Expected<void> tell(const Options& options, const std::string& text, const Json& report) {
    auto json = JsonReport::open(options.json);
    if (!json) return tl::unexpected(json.error());
    if (options.json.to != JsonOptions::To::StandardOutput && !options.img.quiet) {
        if (auto printed = print(text); !printed) return printed;
    }
    return json->wanted() ? json->write(report) : Expected<void>{};
}

// Only the header is read, so this is allowed while a guest uses the image.
Expected<void> info(const Options& options) {
    const ImgOptions& img = options.img;
    const auto image = open_image(img.file, {.format = img.format, .locked = false, .backing = false});
    if (!image) return tl::unexpected(image.error());
    const auto file = HostFile::open(img.file, {.locked = false});
    if (!file) return tl::unexpected(file.error());
    const auto allocated = (*file)->allocated_bytes();
    if (!allocated) return tl::unexpected(allocated.error());
    return tell(options, info_text(img.file, (*image)->info(), *allocated),
                info_json(img.file, (*image)->info(), *allocated));
}

// --- check ---

std::string check_text(const storage::CheckReport& report) {
    std::string text;
    const u64 leaks = report.leaks - report.leaks_repaired;
    const u64 corruptions = report.corruptions - report.corruptions_repaired;
    if (report.leaks_repaired + report.corruptions_repaired != 0) {
        text += fmt::format("repaired: {} errors, {} leaked clusters\n", report.corruptions_repaired,
                            report.leaks_repaired);
    }
    if (leaks != 0) text += fmt::format("{} leaked clusters: lost space, no harm (-r leaks gives it back)\n", leaks);
    text += corruptions == 0 ? "No errors were found on the image.\n"
                             : fmt::format("{} errors were found on the image.\n", corruptions);
    if (report.disk_clusters != 0) {
        text += fmt::format(
            "{}/{} = {:.2f}% allocated, {:.2f}% compressed clusters\n", report.allocated_clusters, report.disk_clusters,
            100.0 * static_cast<double>(report.allocated_clusters) / static_cast<double>(report.disk_clusters),
            report.allocated_clusters == 0 ? 0.0
                                           : 100.0 * static_cast<double>(report.compressed_clusters) /
                                                 static_cast<double>(report.allocated_clusters));
    }
    return text + fmt::format("Image end offset: {}\n", report.image_end);
}

Expected<int> check(const Options& options, const Messages& messages) {
    const ImgOptions& img = options.img;
    const auto file = HostFile::open(img.file, {.writable = img.repair != storage::Repair::Nothing});
    if (!file) return tl::unexpected(file.error());
    const auto report = check_image(**file, img.format, img.repair);
    if (!report) return tl::unexpected(report.error());
    for (const std::string& message : report->messages) messages.note(message);
    const u64 unsaid = report->corruptions + report->leaks - report->messages.size();
    if (unsaid != 0) messages.note(fmt::format("and {} more", unsaid));
    const Json json = {{"image", img.file},
                       {"corruptions", report->corruptions},
                       {"corruptions_fixed", report->corruptions_repaired},
                       {"leaks", report->leaks},
                       {"leaks_fixed", report->leaks_repaired},
                       {"total_clusters", report->disk_clusters},
                       {"allocated_clusters", report->allocated_clusters},
                       {"compressed_clusters", report->compressed_clusters},
                       {"image_end_offset", report->image_end},
                       {"messages", report->messages}};
    if (auto told = tell(options, check_text(*report), json); !told) return tl::unexpected(told.error());
    return static_cast<int>(report->sound() ? ExitStatus::Clean : ExitStatus::BadImage);
}

}  // namespace

int img_command(const Options& options, const Messages& messages) {
    Expected<void> done;
    switch (options.img.action) {
        case ImgAction::Create: done = create(options.img); break;
        case ImgAction::Convert: done = convert(options.img); break;
        case ImgAction::Info: done = info(options); break;
        case ImgAction::Check: {
            const auto status = check(options, messages);
            return status ? *status : report_error(status.error(), messages);
        }
        case ImgAction::None: break;
    }
    return done ? static_cast<int>(ExitStatus::Clean) : report_error(done.error(), messages);
}

}  // namespace dualvm::app
