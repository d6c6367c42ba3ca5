// Handlers that take two steps of scalar double arithmetic: see pairs.cc. (These are all SSE steps, which leave Op::imm
// alone: take_mxcsr may stand before any pair.)
#include "pairs.h"
#include "sse_float.h"
#include "sse_move.h"

namespace dualvm::interp::fast {

namespace {

using Pairs =
    PairsOf<move_register, sse_memory<LoadDouble, Form::Base>, sse_memory<LoadDouble, Form::Indexed>,  //
            store_part<StoreDouble, Form::Base>, store_part<StoreDouble, Form::Indexed>,               //
            sse_register<ADDSD>, sse_register<SUBSD>, sse_register<MULSD>, sse_register<DIVSD>,        //
            sse_memory<ADDSD, Form::Base>, sse_memory<SUBSD, Form::Base>, sse_memory<MULSD, Form::Base>,
            sse_memory<ADDSD, Form::Indexed>, sse_memory<SUBSD, Form::Indexed>, sse_memory<MULSD, Form::Indexed>>;

}  // namespace

Handler choose_sse_pair(Handler first, Handler second) { return Pairs::choose(first, second); }

}  // namespace dualvm::interp::fast
