#include "help.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "dualvm/interp/interpreter.h"

namespace dualvm::app {

namespace {

// Options that are QEMU's, spelled as in its manual.
constexpr std::array<std::string_view, 16> kQemuOptions = {
    "kernel", "initrd", "append", "serial", "nographic", "no-reboot", "no-acpi", "bios",
    "boot",   "hda",    "hdb",    "hdc",    "hdd",       "cdrom",     "fda",     "fdb"};

class Formatter final : public CLI::Formatter {
public:
    Formatter() { column_width(32); }

    std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
        if (is_positional) return option->get_name(true, false);
        std::string names;
        for (const std::string& name : option->get_snames()) names += (names.empty() ? "-" : ", -") + name;
        for (const std::string& name : option->get_lnames()) {
            const bool qemu = std::find(kQemuOptions.begin(), kQemuOptions.end(), name) != kQemuOptions.end();
            names += (names.empty() ? "" : ", ") + std::string(qemu ? "-" : "--") + name;
        }
        return names;
    }
    std::string make_option_opts(const CLI::Option* option) const override {
        const std::string& value = option->get_option_text();
        return value.empty() || value[0] == '[' ? value : ' ' + value;
    }
    std::string make_usage(const CLI::App* command, std::string name) const override {
        if (command->get_parent() == nullptr) return "\nUsage: dualvm COMMAND [OPTIONS]   (dualvm COMMAND --help)\n\n";
        return '\n' + CLI::Formatter::make_usage(command, std::move(name)) + '\n';
    }
    // One empty line between groups, not two.
    std::string make_group(std::string group, bool is_positional,
                           std::vector<const CLI::Option*> options) const override {
        return CLI::Formatter::make_group(std::move(group), is_positional, std::move(options)).substr(1) +
               (is_positional ? "\n" : "");
    }
    std::string make_footer(const CLI::App* command) const override { return command->get_footer(); }
};

constexpr const char* kStatuses = R"(Exit status:
  odd   the guest wrote v to the debug-exit port F4h: (v << 1) | 1, as with QEMU's isa-debug-exit
  0     the guest halted, powered the machine off or, with -no-reboot, reset it
  2     unknown option or bad value
  4     bad image or configuration; nothing to boot from; img check found errors; a file could not
        be read or written
  6     the engine is not available on this host
  8     triple fault: the guest could not handle an exception (without --triple-fault=reset)
  10    the engine could not execute an instruction (address, bytes and disassembly are printed)
  12    a limit was reached: --max-insns, --timeout, Ctrl-C or Ctrl-A x, or the reader of the output left
  14    the engines disagreed
)";

constexpr const char* kTopFooter =
    R"(One machine model - CPU registers (CPUFile), memory (vMEM), devices (vIO) - and several ways of running it: the engine
'interp' reads the guest's instructions one by one, the engine 'kvm' lets the host's CPU execute them.

Examples:
  dualvm run -kernel build/guests/hello64.elf               a greeting from a 64-bit guest
  dualvm run --engine=interp --stats -kernel GUEST          what the interpreter did, in numbers
  dualvm compare -kernel build/guests/sieve.elf             the same guest under every engine, side by side
  dualvm probe                                              what this host's /dev/kvm can do
  dualvm trace -kernel GUEST --count 20                     the first 20 instructions and what each changed
  dualvm disasm GUEST                                       its instructions, from the entry point on
  dualvm fuzz --cases 10000                                 the interpreter against the CPU of this host
  dualvm img create -f qcow vm-disk.img 4G                  a disk for a guest

Options can be written with one dash or two, their values after a space or '='.

)";

constexpr const char* kRunFooter =
    R"(The guest's serial port (COM1) is standard output and standard input; everything that dualvm itself has to say goes to
standard error. At a terminal: Ctrl-A x leaves, Ctrl-A Ctrl-A sends Ctrl-A, Ctrl-A h helps; Ctrl-C goes to the guest.
Where nobody reads keys (-serial none or file:, no live screen), Ctrl-C ends the run.

A guest (-kernel) is a Multiboot 1 kernel, a kernel with a PVH note, a Linux bzImage or a raw boot sector; which of them
is found out by looking. --engine=auto takes kvm where the host's CPU runs kernel-mode guest code directly, else interp,
and says so in one line.

Under kvm, --assist says what interp does: nothing (off); the single instructions that KVM cannot (instruction); all but
64-bit programs, which alone the CPU runs (kernel). auto picks kernel, and says so, where this host's KVM runs programs
directly and kernels not, else instruction. With kernel, a program is interpreted for --patience instructions (50000)
before it is handed over: so long a hand-over takes. Its CPUID and RDTSC are then the host's.

Under --clock=virtual (interp's default) the guest's timers count its instructions, at 1 per nanosecond, and 720 ns for
each port access, and its day begins at 2000-01-01: every run is the same. Under --clock=host (always, for kvm) they
count the host's time.

--switch=CONDITION,to=interp or ,to=kvm hands the guest to that engine while it runs, with all of its state. It may be
given many times: each waits for its condition once the one before has had its own; --switch=repeat, as the last, has
them start over. --engine begins, time is the host's if kvm takes part, and kvm is --assist=instruction if nothing is
said; the guest's CPU is then without what this host's KVM could not take over (PCIDs on some). --stats tells how often,
and how long, each had the guest. Conditions:
  insn:N                 N more instructions have been executed
  rip:ADDRESS            the instruction there is next
  cr3, cr3:VALUE         CR3 changes; CR3 becomes VALUE
  ring:0, ring:3         the privilege level (CPL) becomes that
  program, kernel        64-bit code at ring 3 is next, or no longer: as ring:3 and ring:0 of 64-bit guests, but fast
  port:PORT              the guest has written to that port
  time:10ms              that much of the host's time has passed (s, ms, us)
All but the last two are watched for by counting or executing one instruction at a time: interp can, and slows down to
some million a second for rip, cr3 and ring; where kvm has the guest and this host's KVM cannot, the status is 6. An
interrupt is taken together with the first instruction of its handler.

Without -kernel, -bios FILE is the guest's beginning: a BIOS, like Debian's SeaBIOS in /usr/share/seabios/bios-256k.bin.
-boot tells it where to look first: letters a (floppy disk), c (hard disk), d (CD-ROM), n (network), "cad" if nothing is
said; or order=LETTERS, once=LETTERS (until the first reset), menu=on, with commas between them. -nographic has it write
to the serial port as well.
If the BIOS finds nothing to boot from, the run ends with status 4, unless its screen is live. What the host has against
an access to an image (a full disk) is told; the guest gets an I/O error. What the guest never flushed is flushed at the
end of the run; if that fails, the status is 4.
--screen=live shows the guest's screen in the terminal, and the terminal's keys are the guest's keyboard's; the serial
port is its second view, and time is the host's. Ctrl-A s changes between the two, Ctrl-A d is Ctrl-Alt-Del, Ctrl-A x
leaves.
At a terminal this is what happens without -kernel, -nographic, -serial and --screen: --screen=none has it not.
--sendkeys types on the guest's keyboard, in the guest's time and no faster than it takes the keys: a scripted run under
--clock=virtual is the same each time. Characters are keys of a US keyboard; << is the character <. Between < and >:
  ret, esc, f1, up, ctrl-alt-del   a key, or several held together; names are those of QEMU's sendkey
  down*3                           a key pressed three times
  wait:2s, wait:500ms              nothing, for that time
  screen:TEXT                      nothing, until TEXT stands on a line of the screen
  prompt:TEXT                      nothing, until TEXT stands left of the cursor; \> and \\ are the characters
  pace:100ms                       from now on, that time from key to key (10ms)
  move:10,-5, click, click:right   the mouse, to the right and up; its buttons
--sendkeys=@FILE reads them from FILE, where line ends mean nothing and lines that begin with # are comments.
-no-acpi takes ACPI away: power management hardware and tables.
-d takes a list of: boot (what was loaded where), exits (port and MMIO accesses, halts), int (interrupts), cpu (the
registers at the end), firmware (what the BIOS says of its work).
--screen=text prints the screen as it was at the end, or says which graphics mode it is in; --screen=png:FILE makes a
picture of it in any mode. Both may be given.
--json alone writes to standard error when all else has been said; --json=- writes to standard output, behind what the
guest has sent to its serial port (-serial none or file:PATH keeps them apart). A run that cannot begin has no report.

Examples:
  dualvm run -kernel build/guests/hello64.elf
  dualvm run -kernel vmlinuz -initrd initrd.img -append "console=ttyS0" -m 512M
  dualvm run -bios /usr/share/seabios/bios-256k.bin -d firmware --screen=text --timeout 5
  dualvm run -hda vm-disk.img --screen=png:screen.png --timeout 60
  dualvm run -kernel GUEST --timeout 10 --json=result.json
  dualvm run -cdrom rescue.iso --sendkeys="<prompt:grub\> >ls<ret><wait:1s>" --screen=text --timeout 60
  dualvm run --engine=kvm --assist=off --stats -kernel GUEST
  dualvm run --engine=kvm --assist=kernel --stats -m 256 -kernel vmlinuz -initrd initrd.gz -append console=ttyS0
  dualvm run --engine=interp --switch=program,to=kvm --switch=time:10ms,to=interp --switch=repeat --stats -kernel GUEST

)";

constexpr const char* kCompareFooter =
    R"(Runs the guest under every engine that this host has; engines that can't run here are named with the reason. The guest
has no input. Prints, for each engine, how the run ended, instructions, time (the median of --repeat runs), millions of
instructions a second (MIPS), exits by kind, and the speedup over the slowest. An engine that cannot count instructions
is given another one's count of the same run, marked with ~. Registers that differ at the end are listed. kvm runs the
guest's kernel as well (--assist=instruction) unless --assist says otherwise.

It takes no disks (-hda and the like): the second run would find them as the first has left them.

The status is 14 if outputs or ends differ; else 8, 10 or 12 if that is how the runs ended (12 also if a limit or Ctrl-C
ended one of the repetitions); else 0, whatever value the guest ended with.

Examples:
  dualvm compare -kernel build/guests/sieve.elf
  dualvm compare -kernel build/guests/sieve.elf -append ring=3 --repeat 10 --json=sieve.json

)";

constexpr const char* kProbeFooter =
    R"(What a machine's /dev/kvm is differs: on some hosts the CPU runs all guest code itself, on others only user-mode code,
and the host's kernel emulates the rest. This measures it: which modes run directly, what an exit costs, what
single-step and breakpoints do.

Without a usable /dev/kvm the report says why, and the status is 6.

Examples:
  dualvm probe
  dualvm probe --json=host.json

)";

constexpr const char* kTraceFooter =
    R"(Runs the guest one instruction at a time and prints each: address, bytes, instruction, and the registers that it
changed with their new values. An instruction that raises an exception shows what the handler's entry changed;
interrupts have a line of their own.

The trace is standard output (or -o FILE); the guest's serial port is standard error here. The trace ends after --count
instructions, with status 0; if the guest's run ends before, the status is as with 'dualvm run'.

Examples:
  dualvm trace -kernel build/guests/hello16.elf --count 50
  dualvm trace -kernel GUEST --from 1000000 --count 20      after the first million instructions
  dualvm trace -kernel GUEST --from-rip 0x100200            from where RIP has this value on
  dualvm trace -kernel GUEST --syntax=att -o trace.txt

)";

constexpr const char* kDisasmFooter =
    R"(FILE is a guest, as 'dualvm run -kernel' takes it: it is loaded, not run, and disassembled from its entry point on, at
the addresses and in the mode in which it would begin. --start and --mode look elsewhere: a 64-bit guest in a Multiboot
file begins in 32-bit mode and switches. With --raw, FILE is machine code and nothing else. --bytes takes the code from
the command line.

Examples:
  dualvm disasm build/guests/hello64.elf
  dualvm disasm build/guests/hello64.elf --start 0x100100 --mode 64 --count 20
  dualvm disasm --raw --mode 16 --base 0x7c00 build/guests/bootsector16.bin
  dualvm disasm --bytes "0f a2" --syntax=att

)";

constexpr const char* kFuzzFooter =
    R"(Makes instructions, single ones and short sequences, of everything that ring 3 can run of what the CPU model
advertises, in 64-bit and 32-bit code, with registers and memory chosen to hit corners. An oracle runs each: the host's
CPU itself, in a child process of its own (native), or a virtual CPU under KVM, in the modes that this host's KVM lets
the CPU run (kvm). The interpreter runs the same, with its fast handlers and without. Registers, flags, x87 and vector
registers, memory and exceptions must be equal; what the manual leaves undefined does not count. With --no-opt=LIST it
is the interpreter without these optimisations that must be equal ('dualvm run --help' lists them).

What differs is made as small as possible and printed: instructions, what they start from, both results. With
--regressions each is kept as a file, which 'dualvm fuzz FILE' runs again.

The status is 14 if there were differences, 6 if the host has no such oracle, 12 if Ctrl-C ended it.

Examples:
  dualvm fuzz --cases 100000 --seed 1
  dualvm fuzz --minutes 10 --jobs 2 --json=fuzz.json
  dualvm fuzz --no-opt=flags,fuse --cases 20000
  dualvm fuzz --oracle=kvm --only=shl,shr,sar,rol,ror,rcl,rcr
  dualvm fuzz tests/diff/regressions/*.json

)";

// What --no-opt takes, in the middle of the footer of `run`.
std::string optimisations_text() {
    std::string text =
        "--no-opt=LIST leaves out, to see what each gives (comma between them; results stay the same):\n";
    for (const InterpreterOptimisation& each : interpreter_optimisations()) {
        text += fmt::format("  {:<9} {}\n", each.name, each.what);
    }
    return text + '\n';
}

constexpr const char* kImgFooter =
    R"(Images are raw, qcow (version 1) or qcow2 (2 and 3). A new image gets its name when it is whole; an old one of that name
is replaced, as by qemu-img, unless somebody uses it.

-o takes, of qcow2: cluster_size=512 to 2M (default 64K), compat=0.10|1.1, refcount_bits=1 to 64, lazy_refcounts=on|off,
compression_type=zlib|zstd; for create, size=SIZE as well and, of qcow and qcow2, backing_file=FILE and
backing_fmt=FORMAT.

Without -f an image's format is found out by looking. The guest decides what its disk looks like: say -f raw of a raw
image whose guest you don't trust.

check counts what refers to each cluster. Errors are what could give a guest wrong data: status 4. Leaks are lost space
and no harm: status 0. A raw image is always sound.

Examples:
  dualvm img create -f qcow vm-disk.img 4G
  dualvm img create -f qcow2 -b base.img -F raw overlay.img     what a guest changes goes to overlay.img
  dualvm img info --json=- vm-disk.img
  dualvm img check -r leaks vm-disk.img
  dualvm img convert -O qcow2 -c disk.raw disk.qcow2            compressed

)";

}  // namespace

std::shared_ptr<CLI::Formatter> make_formatter() { return std::make_shared<Formatter>(); }

const char* description(Command command) {
    switch (command) {
        case Command::Run: return "Run a guest under one engine";
        case Command::Compare: return "Run a guest under every engine and compare";
        case Command::Probe: return "Measure what this host's /dev/kvm can do";
        case Command::Trace: return "Run a guest instruction by instruction";
        case Command::Disasm: return "Disassemble a guest, a file or bytes";
        case Command::Fuzz: return "Prove the interpreter against the host's CPU";
        case Command::Img: return "Make, describe, check and copy disk images";
    }
    return "";
}

const char* footer(Command command) {
    static const std::string kRun = std::string(kRunFooter) + optimisations_text() + kStatuses,
                             kCompare = std::string(kCompareFooter) + kStatuses,
                             kProbe = std::string(kProbeFooter) + kStatuses,
                             kTrace = std::string(kTraceFooter) + kStatuses,
                             kDisasm = std::string(kDisasmFooter) + kStatuses,
                             kFuzz = std::string(kFuzzFooter) + kStatuses, kImg = std::string(kImgFooter) + kStatuses;
    switch (command) {
        case Command::Run: return kRun.c_str();
        case Command::Compare: return kCompare.c_str();
        case Command::Probe: return kProbe.c_str();
        case Command::Trace: return kTrace.c_str();
        case Command::Disasm: return kDisasm.c_str();
        case Command::Fuzz: return kFuzz.c_str();
        case Command::Img: return kImg.c_str();
    }
    return "";
}

const char* top_level_footer() {
    static const std::string kText = std::string(kTopFooter) + kStatuses;
    return kText.c_str();
}

std::string short_help() {
    std::string text = "Usage: dualvm COMMAND [OPTIONS]\n\n";
    constexpr std::pair<const char*, Command> kCommands[] = {{"run", Command::Run},       {"compare", Command::Compare},
                                                             {"probe", Command::Probe},   {"trace", Command::Trace},
                                                             {"disasm", Command::Disasm}, {"fuzz", Command::Fuzz},
                                                             {"img", Command::Img}};
    for (const auto& [name, command] : kCommands) text += fmt::format("  {:<9} {}\n", name, description(command));
    return text + "\n'dualvm --help' has examples; 'dualvm run -kernel build/guests/hello64.elf' is a first one.\n";
}

std::string version_text() {
    return fmt::format("dualvm {}\none x86 machine, two engines: interp and kvm\n", DUALVM_VERSION);
}

}  // namespace dualvm::app
