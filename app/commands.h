// The subcommands: each takes the options and returns the process's exit status.
#pragma once

#include "messages.h"
#include "options.h"

namespace dualvm::app {

int run_command(const Options& options, const Messages& messages);
int compare_command(const Options& options, const Messages& messages);
int probe_command(const Options& options, const Messages& messages);
int trace_command(const Options& options, const Messages& messages);
int disasm_command(const Options& options, const Messages& messages);
int fuzz_command(const Options& options, const Messages& messages);
int img_command(const Options& options, const Messages& messages);

// Says what went wrong; its status.
int report_error(const Error& error, const Messages& messages);

}  // namespace dualvm::app
