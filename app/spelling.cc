#include "spelling.h"

#include <fmt/format.h>

#include <CLI/Error.hpp>
#include <CLI/Option.hpp>

#include "values.h"

namespace dualvm::app {

namespace {

// CLI11 finds by "--name" and "-n".
const CLI::Option* find_option(const CLI::App& command, const std::string& name) {
    return command.get_option_no_throw((name.size() == 1 ? "-" : "--") + name);
}

// CLI11 counts a flag's value as one that may be there or not.
bool takes_value(const CLI::Option& option) { return option.get_items_expected_min() > 0; }

std::vector<std::string> option_names(const CLI::App& command) {
    std::vector<std::string> names;
    for (const CLI::Option* option : command.get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back(name);
        for (const std::string& name : option->get_snames()) names.push_back(name);
    }
    return names;
}

std::string unknown(const CLI::App& command, const std::string& word, const std::string& name) {
    std::string hint;
    if (const std::string near = nearest(name, option_names(command)); !near.empty()) {
        hint = fmt::format("; did you mean '-{}{}'?", near.size() > 1 && word.starts_with("--") ? "-" : "", near);
    } else if (command.get_parent() != nullptr) {
        for (const CLI::App* other : command.get_parent()->get_subcommands({})) {
            if (find_option(*other, name) != nullptr) {
                hint = fmt::format("; it is an option of 'dualvm {}'", other->get_name());
                break;
            }
        }
    }
    return fmt::format("unknown option '{}'{}", word, hint);
}

}  // namespace

tl::expected<std::vector<std::string>, std::string> in_one_spelling(const CLI::App& command,
                                                                    const std::vector<std::string>& words) {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (word == "--") {
            out.insert(out.end(), words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
            break;
        }
        if (word.size() < 2 || word[0] != '-') {
            out.push_back(word);
            continue;
        }
        const std::size_t dashes = word.starts_with("--") ? 2 : 1;
        const std::size_t equals = word.find('=');
        const std::string name = word.substr(dashes, equals == std::string::npos ? equals : equals - dashes);
        const CLI::Option* option = find_option(command, name);
        if (option == nullptr) return tl::unexpected(unknown(command, word.substr(0, equals), name));
        const std::string canonical = (name.size() == 1 ? "-" : "--") + name;
        if (!takes_value(*option)) {
            if (equals != std::string::npos && option->get_disable_flag_override()) {
                return tl::unexpected(fmt::format("'{}' takes no value", word.substr(0, equals)));
            }
            if (equals == word.size() - 1) {
                return tl::unexpected(fmt::format("'{}' has no value: name one, or leave out the '='", word));
            }
            out.push_back(equals == std::string::npos ? canonical : canonical + word.substr(equals));
            continue;
        }
        out.push_back(canonical);
        if (equals != std::string::npos) {
            out.push_back(word.substr(equals + 1));
        } else if (i + 1 < words.size()) {
            out.push_back(words[++i]);
        } else {
            return tl::unexpected(fmt::format("'{}' needs a value", word));
        }
    }
    return out;
}

}  // namespace dualvm::app
