// Hardware task switching (SDM vol. 3A, ch. 7), for 16- and 32-bit tasks. It does not exist in IA-32e mode.
#pragma once

#include "privilege.h"

namespace dualvm::interp {

enum class TaskEntry : u8 { Jump, Call, Return /* IRET with NT */, Interrupt };

struct TaskSwitch {
    TaskEntry how = TaskEntry::Jump;
    u16 selector = 0;      // of the new task's TSS
    u32 ext = 0;           // EXT bit for error codes
    u64 saved_rip = 0;     // what the old task will go on with
    u64 saved_rflags = 0;  // and its flags
    bool has_error_code = false;
    u32 error_code = 0;  // to be pushed on the new task's stack
};

// The TSS descriptor must be in the GDT, of the right type (busy for a return, available otherwise) and present. False:
// a fault of the old task, nothing has changed. Faults of the new task's segments come after the switch, as its own
// first event (EventGroup::exception_pending); the switch itself then counts as done (7.3, step 13).
bool switch_task(State& s, const TaskSwitch& request);

}  // namespace dualvm::interp
