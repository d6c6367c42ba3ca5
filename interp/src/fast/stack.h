// Memory at the stack pointer.
//
// Nearly every access to the stack is to the page of the one before, so State keeps that page's TLB entry by itself and
// PUSH, POP, CALL and RET need not look for it.
#pragma once

#include "handler.h"

namespace dualvm::interp::fast {

// Where PUSH and CALL go when the stack has come to another page: if the TLB knows the page the instruction begins
// again, with this page remembered.
template <class T>
void push_elsewhere(DUALVM_ARGUMENTS) {
    const T top = static_cast<T>(sp - sizeof(T));
    if (host_to_write<sizeof(T)>(s, top) == nullptr) DUALVM_TAIL reference(DUALVM_PASS);
    s->stack_write = s->tlb->write[(top / kPageSize) % Tlb::kEntries];
    DUALVM_GO(op);
}

// The same for POP and RET.
template <class T>
void pop_elsewhere(DUALVM_ARGUMENTS) {
    const T top = static_cast<T>(sp);
    if (host_to_read<sizeof(T)>(s, top) == nullptr) DUALVM_TAIL reference(DUALVM_PASS);
    s->stack_read = s->tlb->read[(top / kPageSize) % Tlb::kEntries];
    DUALVM_GO(op);
}

}  // namespace dualvm::interp::fast
