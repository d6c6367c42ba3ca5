// The instruction catalogue as CSV, with what the interpreter does with each form.
//
//     instruction_forms > FILE
#include <cstdio>

#include "dualvm/study/catalogue.h"
#include "execute_once.h"

int main() {
    using namespace dualvm;
    using namespace dualvm::study;
    std::puts("mode,mnemonic,operands,isa_set,feature,advertised,executes,ring0,reads_as,example");
    for (CodeMode mode : {CodeMode::Bits16, CodeMode::Bits32, CodeMode::Bits64}) {
        scene::ExecuteOnce once(static_cast<unsigned>(mode));
        for (const InstructionForm& form : instruction_catalogue(CpuModel::standard(), mode)) {
            std::string example;
            for (u8 byte : form.example()) {
                char text[4];
                std::snprintf(text, sizeof text, "%s%02x", example.empty() ? "" : " ", byte);
                example += text;
            }
            std::printf("%u,%s,\"%s\",%s,%s,%s,%s,%s,\"%s\",%s\n", static_cast<unsigned>(mode), form.mnemonic.c_str(),
                        form.operands.c_str(), form.isa_set.c_str(), form.feature == nullptr ? "" : form.feature->name,
                        form.advertised ? "yes" : "no", once.undefined(form.example()) ? "no" : "yes",
                        form.privileged || form.io ? "yes" : "no", form.reads_as.c_str(), example.c_str());
        }
    }
    return 0;
}
