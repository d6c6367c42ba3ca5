// Exceptions at ring 0 in 64-bit mode: vector, error code and saved RIP; double faults on a stack of their own; and INT
// n for every free vector. The instructions are in exceptions64.S (all that integer code can raise) or, for the guests
// `strict`, `fpu-faults` and `databreak`, in the files of these names.
#include "../runtime/faults.h"

extern uint64_t boot_gdt_spare[];
extern const char int_stubs[];
extern const char guest_name[];
void raise_exceptions(void);

static uint32_t small_tss[12];
static unsigned long last_vector;

static void note_vector(struct InterruptFrame* frame) { last_vector = frame->vector; }

static void make_descriptors(void) {
    boot_gdt_spare[3] = 0x00cf13000000ffff;  // 48h: data, not present
    // 50h: a TSS with room for the ring stacks only
    boot_gdt_spare[4] = (sizeof small_tss - 1) | (unsigned long)small_tss << 16 | 0x89ull << 40;
    interrupt_gate(0x31, 0, 7);
    interrupt_gate_set_present(0x32, false);
    interrupt_gate_remove(0x33);
}

static void all_software_interrupts(void) {
    unsigned long right = 0;
    for (unsigned vector = 32; vector < 256; ++vector) {
        interrupt_gate(vector, 0, 0);
        interrupt_handle(vector, note_vector);
        ((void (*)(void))(int_stubs + 16 * vector))();
        right += last_vector == vector;
    }
    check_equal("INT 32 to INT 255, each to its own vector", right, 256 - 32);
}

int guest_main(void) {
    serial_open();
    interrupts_install();
    tss_load(kPortsClosed);
    interrupt_gate(kDoubleFault, 0, 1);
    make_descriptors();
    faults_watch();
    raise_exceptions();
    faults_finish();
    all_software_interrupts();
    return check_verdict(guest_name);
}
