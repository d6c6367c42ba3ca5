// dualvm: the command line, nothing else. Options are parsed in options.cc; each command has a file of its own.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <new>

#include "commands.h"
#include "interruption.h"

namespace dualvm::app {

namespace {

int dispatch(const Options& options, const Messages& messages) {
    switch (options.command) {
        case Command::Run: return run_command(options, messages);
        case Command::Compare: return compare_command(options, messages);
        case Command::Probe: return probe_command(options, messages);
        case Command::Trace: return trace_command(options, messages);
        case Command::Disasm: return disasm_command(options, messages);
        case Command::Fuzz: return fuzz_command(options, messages);
        case Command::Img: return img_command(options, messages);
    }
    return static_cast<int>(ExitStatus::Usage);
}

// A standard stream that was closed before we began is a file descriptor that the next open() gets: the guest's serial
// output would be written into its disk's image. Reading it is the end of the input, writing it fails, as it should.
void keep_standard_streams_taken() {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        if (open("/dev/null", O_RDONLY) != fd) _exit(static_cast<int>(ExitStatus::BadImage));  // nobody to tell
    }
}

int run(const std::vector<std::string>& arguments) {
    keep_standard_streams_taken();
    install_signal_handlers();
    const auto options = parse_command_line(arguments);
    if (!options) {
        const ParseEnd& end = options.error();
        if (end.status != 0) {
            write_all(STDERR_FILENO, printable(end.text, Lines::Many));
            return end.status;
        }
        const auto printed = print(end.text);
        return printed ? 0 : static_cast<int>(printed.error().status);
    }
    return dispatch(*options, Messages(options->color));
}

}  // namespace

int report_error(const Error& error, const Messages& messages) {
    messages.error(error.text);
    return static_cast<int>(error.status);
}

}  // namespace dualvm::app

int main(int argc, char** argv) {
    using namespace dualvm;
    const app::Messages messages(app::ColorChoice::Never);
    try {
        return app::run({argv + (argc > 0 ? 1 : 0), argv + argc});
    } catch (const std::bad_alloc&) {
        return app::report_error({ExitStatus::BadImage, "the host has no memory left; close other programs"}, messages);
    } catch (const std::exception& failure) {
        return app::report_error({ExitStatus::BadImage, std::string("unexpected host failure: ") + failure.what()},
                                 messages);
    }
}
