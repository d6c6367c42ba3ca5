#include "named_files.h"

#include <fmt/format.h>

#include <filesystem>

#include "output_file.h"

namespace dualvm::app {

namespace {

namespace fs = std::filesystem;

struct Named {
    std::string option, path;
};

std::vector<Named> given(std::vector<Named> files) {
    std::erase_if(files, [](const Named& file) { return file.path.empty(); });
    return files;
}

std::vector<Named> written(const Options& o) {
    return given({{"-serial", o.serial == SerialKind::File ? o.serial_path : ""},
                  {"-D", o.log.path},
                  {"--screen=png", o.screen.png_path},
                  {"--json", o.json.to == JsonOptions::To::File ? o.json.path : ""},
                  {"-o", o.output_path},
                  {"--coverage", o.fuzz.coverage}});
}

std::vector<Named> read(const Options& o) {
    const DriveOptions& d = o.guest.drives;
    std::vector<Named> files = {
        {"-kernel", o.guest.boot.kernel},
        {"-bios", o.guest.boot.firmware},
        {"-hda", d.disks[0]},
        {"-hdb", d.disks[1]},
        {"-hdc", d.disks[2]},
        {"-hdd", d.disks[3]},
        {"-cdrom", d.cdrom},
        {"-fda", d.floppies[0]},
        {"-fdb", d.floppies[1]},
        {"--sendkeys", o.sendkeys.starts_with('@') ? o.sendkeys.substr(1) : ""},
        {o.command == Command::Img ? "img" : "disasm", o.command == Command::Img ? o.img.file : o.disasm.file}};
    for (const std::string& module : o.guest.boot.initrd) files.push_back({"-initrd", module});
    for (const std::string& replayed : o.fuzz.replay) files.push_back({"fuzz", replayed});
    return given(std::move(files));
}

bool is_file_of_its_own(const std::string& path) {
    std::error_code ignored;
    const fs::file_status status = fs::status(path, ignored);
    return (!fs::exists(status) || fs::is_regular_file(status)) && !open_stream_at(path);
}

bool same(const std::string& a, const std::string& b) {
    std::error_code ignored;
    if (fs::equivalent(a, b, ignored)) return true;
    return fs::weakly_canonical(fs::absolute(a, ignored), ignored) ==
           fs::weakly_canonical(fs::absolute(b, ignored), ignored);
}

}  // namespace

std::string what_is_wrong_with_files(const Options& options) {
    const std::vector<Named> outputs = written(options), inputs = read(options);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        const Named& output = outputs[i];
        if (!is_file_of_its_own(output.path)) continue;
        for (std::size_t j = 0; j < i; ++j) {
            if (same(output.path, outputs[j].path)) {
                return fmt::format("{} and {} would both write {}: give each a file of its own", outputs[j].option,
                                   output.option, output.path);
            }
        }
        for (const Named& input : inputs) {
            if (same(output.path, input.path)) {
                return fmt::format("{} would overwrite {}, which {} reads: give it a file of its own", output.option,
                                   output.path, input.option);
            }
        }
    }
    return "";
}

}  // namespace dualvm::app
