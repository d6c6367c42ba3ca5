#include "img_options.h"

#include <fmt/format.h>

#include <functional>

#include "help.h"
#include "values.h"

namespace dualvm::app {

namespace {

using storage::Format;

[[noreturn]] void wrong(const std::string& option, const std::string& why) { throw CLI::ValidationError(option, why); }

u64 disk_size(const std::string& option, const std::string& text) {
    const auto size = parse_disk_size(text);
    if (!size) wrong(option, size.error());
    return *size;
}

Format format(const std::string& option, const std::string& text) {
    const auto known = storage::format_from_name(text);
    if (!known) wrong(option, known.error().text);
    return *known;
}

bool on_or_off(const std::string& name, const std::string& text) {
    if (text != "on" && text != "off") wrong("-o", fmt::format("{}: '{}' is neither on nor off", name, text));
    return text == "on";
}

// One of the comma-separated NAME=VALUE of -o.
void set_create_option(const std::string& name, const std::string& value, ImgOptions& options) {
    storage::CreateOptions& create = options.create;
    if (name == "size") {
        options.size = disk_size("-o size", value);
    } else if (name == "cluster_size") {
        create.cluster_size = disk_size("-o cluster_size", value);
        if (create.cluster_size == 0) wrong("-o", "cluster_size 0 is not a power of 2 from 512 to 2M");
    } else if (name == "compat") {
        if (value != "0.10" && value != "v2" && value != "1.1" && value != "v3") {
            wrong("-o", fmt::format("compat: '{}' is not one of 0.10, v2, 1.1 and v3", value));
        }
        create.version = value == "0.10" || value == "v2" ? 2 : 3;
    } else if (name == "refcount_bits") {
        const auto bits = parse_number(value);
        if (!bits || *bits > 64) wrong("-o", fmt::format("refcount_bits: '{}' is not a number from 1 to 64", value));
        create.refcount_bits = static_cast<unsigned>(*bits);
    } else if (name == "compression_type") {
        if (value != "zlib" && value != "zstd") {
            wrong("-o", fmt::format("compression_type: '{}' is neither zlib nor zstd", value));
        }
        create.compression = value == "zstd" ? storage::Compression::Zstd : storage::Compression::Zlib;
    } else if (name == "lazy_refcounts") {
        create.lazy_refcounts = on_or_off(name, value);
    } else if (name == "backing_file") {
        create.backing_file = value;
    } else if (name == "backing_fmt") {
        create.backing_format = name_of(format("-o backing_fmt", value));
    } else if (name == "preallocation" && value == "off") {
        // It is.
    } else {
        wrong("-o", fmt::format("there is no option '{}={}'; cluster_size, compat, refcount_bits, lazy_refcounts, "
                                "compression_type, backing_file, backing_fmt and size are",
                                name, value));
    }
}

void set_create_options(const std::string& list, ImgOptions& options) {
    for (std::size_t at = 0; at <= list.size();) {
        const std::size_t end = std::min(list.find(',', at), list.size());
        const std::string item = list.substr(at, end - at);
        const std::size_t equals = item.find('=');
        if (equals == std::string::npos) wrong("-o", fmt::format("'{}' is not of the form NAME=VALUE", item));
        set_create_option(item.substr(0, equals), item.substr(equals + 1), options);
        at = end + 1;
    }
}

class Actions {
public:
    Actions(CLI::App& img, ImgOptions& options) : img_(img), o_(options) {}

    void add_create() {
        CLI::App& to = add(ImgAction::Create, "create", "Make an image without contents");
        to.add_option("FILE", o_.file, "The new image; an old one of that name is replaced");
        to.add_option_function<std::string>(
            "SIZE", [o = &o_](const std::string& text) { o->size = disk_size("SIZE", text); },
            "Of the disk: bytes, or as 10M, 4G, 1T");
        value(to, "-f", "FORMAT", "raw (the default), qcow or qcow2",
              [o = &o_](const std::string& text) { o->create.format = format("-f", text); });
        value(to, "-b", "FILE", "Backing file: it has what is not in the new image",
              [o = &o_](const std::string& text) { o->create.backing_file = text; });
        value(to, "-F", "FORMAT", "The backing file's format",
              [o = &o_](const std::string& text) { o->create.backing_format = name_of(format("-F", text)); });
        add_create_options(to);
        flag(to, "-u", "Don't look whether the backing file is there", [o = &o_] { o->backing_unchecked = true; });
        add_quiet(to);
    }

    void add_info() {
        CLI::App& to = add(ImgAction::Info, "info", "Say what is in an image's header");
        to.add_option("FILE", o_.file, "The image");
        add_format(to);
    }

    void add_check() {
        CLI::App& to = add(ImgAction::Check, "check", "Say whether an image is sound, or repair it");
        to.add_option("FILE", o_.file, "The image");
        add_format(to);
        value(to, "-r", "WHAT", "Repair: leaks or all", [o = &o_](const std::string& text) {
            if (text != "leaks" && text != "all") wrong("-r", fmt::format("'{}' is neither leaks nor all", text));
            o->repair = text == "all" ? storage::Repair::All : storage::Repair::Leaks;
        });
        add_quiet(to);
    }

    void add_convert() {
        CLI::App& to = add(ImgAction::Convert, "convert", "Copy a disk into a new image");
        to.add_option("FILE", o_.file, "The image to read, with its backing files");
        to.add_option("NEW", o_.target, "The new image; an old one of that name is replaced");
        add_format(to);
        value(to, "-O", "FORMAT", "The new image's: raw (the default), qcow or qcow2",
              [o = &o_](const std::string& text) { o->create.format = format("-O", text); });
        flag(to, "-c", "Compress (qcow, qcow2)", [o = &o_] { o->compressed = true; });
        add_create_options(to);
        add_quiet(to);
    }

private:
    CLI::App& add(ImgAction action, const char* name, const char* text) {
        CLI::App* to = img_.add_subcommand(name, text);
        to->set_help_flag("-h,--help", "This text");
        to->group("Actions");
        to->footer(img_.get_footer());
        to->callback([o = &o_, action] { o->action = action; });
        return *to;
    }
    static void value(CLI::App& to, const char* name, const char* value_name, const char* text,
                      const std::function<void(const std::string&)>& on_value) {
        to.add_option_function<std::string>(name, on_value, text)->option_text(value_name);
    }
    static void flag(CLI::App& to, const char* name, const char* text, std::function<void()> on) {
        to.add_flag_callback(name, std::move(on), text)->disable_flag_override();
    }
    void add_format(CLI::App& to) {
        value(to, "-f", "FORMAT", "FILE's: raw, qcow or qcow2 (default: found out by looking)",
              [o = &o_](const std::string& text) { o->format = format("-f", text); });
    }
    void add_create_options(CLI::App& to) {
        // Each time that it is given, as qemu-img.
        to.add_option_function<std::string>(
              "-o", [o = &o_](const std::string& text) { set_create_options(text, *o); }, "Of the new image: see below")
            ->trigger_on_parse()
            ->option_text("NAME=VALUE,...");
    }
    void add_quiet(CLI::App& to) {
        flag(to, "-q", "Say nothing but what is wrong", [o = &o_] { o->quiet = true; });
    }

    CLI::App& img_;
    ImgOptions& o_;
};

}  // namespace

void add_img_actions(CLI::App& img, ImgOptions& options) {
    Actions actions(img, options);
    actions.add_create();
    actions.add_info();
    actions.add_check();
    actions.add_convert();
}

std::string what_is_wrong_with(const ImgOptions& options) {
    const storage::CreateOptions& create = options.create;
    if (options.action == ImgAction::None) return "what is to be done? create, info, check or convert";
    if (options.file.empty()) return "no image: FILE names one";
    if (options.action == ImgAction::Convert) {
        if (options.target.empty()) return "no new image: a second file names it";
        if (!create.backing_file.empty() || !create.backing_format.empty() || options.size) {
            return "what convert makes has no backing file, and the size of what it reads";
        }
        if (options.compressed && create.format == Format::Raw)
            return "-c needs -O qcow or -O qcow2: raw is not compressed";
    }
    if (options.action == ImgAction::Create) {
        if (!create.backing_file.empty() && create.backing_format.empty()) {
            return "-b needs -F FORMAT: guessing the backing file's format would let its guest decide";
        }
        if (create.backing_file.empty() && !create.backing_format.empty()) return "-F needs -b FILE";
        if (!options.size && (create.backing_file.empty() || options.backing_unchecked)) {
            return "no size: give the disk's, like 4G";
        }
    }
    return "";
}

}  // namespace dualvm::app
