#include "reference.h"

namespace dualvm::interp {

Reference find_reference(u16 mnemonic) {
    static const ReferenceTable table = [] {
        ReferenceTable t;
        add_integer_arithmetic(t);
        add_logic_and_shifts(t);
        add_bit_instructions(t);
        add_data_movement(t);
        add_stack_instructions(t);
        add_near_branches(t);
        add_string_instructions(t);
        add_flag_instructions(t);
        add_far_transfers(t);
        add_fast_system_calls(t);
        add_segment_instructions(t);
        add_table_instructions(t);
        add_control_instructions(t);
        add_msr_and_cpuid(t);
        add_io_instructions(t);
        add_fpu_instructions(t);
        add_fpu_environment(t);
        return t;
    }();
    return table.find(mnemonic);
}

}  // namespace dualvm::interp
