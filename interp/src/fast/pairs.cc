// Handlers that take two steps: the commonest neighbours in compiled code.
//
// What a pair saves is the way from one handler to the next: an address to add, a load, and an indirect jump, of which
// a CPU does one in about two cycles. Every pair of the steps listed here has its handler; a block's instructions are
// paired off from its beginning.
#include "pairs.h"
#include "arithmetic.h"
#include "move.h"
#include "shift.h"
#include "stack.h"

namespace dualvm::interp::fast {

namespace {

// Flags are dead in all of these: nearly always so where two such instructions follow each other.
using Pairs = PairsOf<
    mov_register<u32>, mov_register<u64>, mov_immediate<u32>,                                                    //
    mov_load<u32, Form::Base>, mov_load<u64, Form::Base>,                                                        //
    mov_load<u32, Form::Indexed>, mov_load<u64, Form::Indexed>,                                                  //
    mov_store<u32, Form::Base>, mov_store<u64, Form::Base>,                                                      //
    extend_register<u32, u8>, extend_load<u32, u8, Form::Base>, extend_load<u32, u8, Form::Indexed>,             //
    lea<u64, Form::Base>, lea<u64, Form::Indexed>, lea<u32, Form::Base>, lea<u32, Form::Indexed>,                //
    register_register<Add, u32, false>, register_register<Add, u64, false>,                                      //
    register_register<Xor, u32, false>, register_register<Xor, u64, false>,                                      //
    register_register<And, u32, false>, register_register<Or, u32, false>,                                       //
    register_register<Sub, u64, false>, register_immediate<Add, u64, false>,                                     //
    register_immediate<And, u32, false>,                                                                         //
    shift_immediate<Rol, u32, false>, shift_immediate<Ror, u32, false>,                                          //
    shift_immediate<Shl, u64, false>, shift_immediate<Shr, u64, false>, shift_immediate<Shr, u32, false>,        //
    register_memory<Add, u32, false, Form::Base>, register_memory<Xor, u32, false, Form::Indexed>,               //
    register_register<And, u64, false>, register_register<Or, u64, false>, register_immediate<Add, u32, false>,  //
    shift_immediate<Shl, u32, false>, shift_immediate<Sar, u64, false>, imul_register<u64, false>,               //
    mov_store<u8, Form::Base>, mov_store<u8, Form::Indexed>, extend_load<i32, i8, Form::Base>,                   //
    register_immediate<Add, u64, true>, register_register<Add, u32, true>, register_immediate<And, u32, true>,   //
    push_register<u64>, pop_register<u64>, compute_stack_pointer<Sub, u64, false>,                               //
    compute_stack_pointer<Add, u64, true>>;

}  // namespace

Handler choose_pair(Handler first, Handler second) { return Pairs::choose(first, second); }

}  // namespace dualvm::interp::fast
