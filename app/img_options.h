// dualvm img: its actions and their options, spelled as qemu-img spells them.
#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <string>

#include "dualvm/storage/check.h"
#include "dualvm/storage/image.h"

namespace dualvm::app {

enum class ImgAction : u8 { None, Create, Info, Check, Convert };

struct ImgOptions {
    ImgAction action = ImgAction::None;
    std::string file, target;               // target: of convert
    std::optional<storage::Format> format;  // of `file`, as far as it is there already
    storage::CreateOptions create;          // of a new image; its size is in `size`
    std::optional<u64> size;
    bool backing_unchecked = false;
    bool compressed = false;
    bool quiet = false;
    storage::Repair repair = storage::Repair::Nothing;
};

// The actions as subcommands of `img`; what they are given goes to `options`.
void add_img_actions(CLI::App& img, ImgOptions& options);
// What is wrong with several options at once; empty if nothing is.
std::string what_is_wrong_with(const ImgOptions& options);

}  // namespace dualvm::app
