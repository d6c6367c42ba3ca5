// Reports as JSON. Names in them are a promise to those who read them with programs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "dualvm/engine.h"
#include "dualvm/run_loop.h"
#include "dualvm/study/compare.h"
#include "options.h"
#include "output_file.h"

namespace dualvm::app {

using Json = nlohmann::ordered_json;

Json host_json();
Json exits_json(const EngineStatistics& statistics);
Json statistics_json(const EngineStatistics& statistics);
Json guest_json(const GuestOptions& guest);
Json comparison_json(const study::Comparison& comparison);

// Where --json goes, opened before there is anything to write, so that a file that can't be written is known early.
class JsonReport {
public:
    static Expected<JsonReport> open(const JsonOptions& options);
    bool wanted() const { return options_.to != JsonOptions::To::Nowhere; }
    Expected<void> write(const Json& report);

private:
    JsonOptions options_;
    std::optional<OutputFile> file_;
};

}  // namespace dualvm::app
