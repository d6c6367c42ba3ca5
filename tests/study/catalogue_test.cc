// The instruction catalogue: every form, and what is known of each.
#include "dualvm/study/catalogue.h"

#include <gtest/gtest.h>

#include <map>

namespace dualvm::study {

namespace {

class Catalogue : public ::testing::Test {
protected:
    Catalogue() {
        for (InstructionForm& form : instruction_catalogue(CpuModel::standard())) {
            const std::string key = form.key();
            EXPECT_TRUE(forms_.try_emplace(key, std::move(form)).second) << key << " is there twice";
        }
    }
    const InstructionForm& at(const std::string& key) {
        static const InstructionForm none;
        const auto found = forms_.find(key);
        EXPECT_NE(found, forms_.end()) << key;
        return found == forms_.end() ? none : found->second;
    }
    std::string feature(const std::string& key) {
        const CpuidFeature* f = at(key).feature;
        return f == nullptr ? "" : f->name;
    }
    std::map<std::string, InstructionForm> forms_;
};

// One walk over all opcode maps takes seconds: what it must have found is asked here at once.
TEST_F(Catalogue, KnowsEveryFormAndWhatPromisesIt) {
    // Modes.
    EXPECT_TRUE(forms_.contains("32/aaa/"));
    EXPECT_FALSE(forms_.contains("64/aaa/"));
    EXPECT_TRUE(forms_.contains("64/cdqe/"));
    EXPECT_TRUE(forms_.contains("16/jecxz/rel8"));
    // Two opcodes, one form; three ModRM.reg and one opcode, three forms.
    EXPECT_EQ(at("64/mov/r32, r32").encodings.size(), 2u);
    EXPECT_EQ(at("32/rol/m8, CL").example(), (std::vector<u8>{0xd2, 0x00}));
    EXPECT_EQ(at("32/sar/m8, CL").example(), (std::vector<u8>{0xd2, 0x38}));
    // CPUID.
    EXPECT_EQ(feature("64/add/r32, r32"), "");
    EXPECT_EQ(feature("64/rdtsc/"), "TSC");
    EXPECT_EQ(feature("64/fcmovb/ST(0), ST(i)"), "CMOV");
    EXPECT_EQ(feature("64/lahf/"), "LAHF64");
    EXPECT_EQ(feature("32/lahf/"), "");
    EXPECT_EQ(feature("64/pshufb/mm, mm"), "SSSE3");
    EXPECT_EQ(feature("64/vaddpd/zmm, k, zmm, zmm"), "AVX512F");
    EXPECT_TRUE(at("64/crc32/r32, m8").advertised);
    EXPECT_TRUE(at("64/addps/xmm, xmm").advertised);
    for (const char* absent :
         {"64/vaddpd/zmm, k, zmm, zmm", "64/vaddpd/ymm, ymm, ymm", "64/andn/r64, r64, r64", "64/pfadd/mm, mm",
          "64/vmcall/", "64/xsave/m576byte", "64/vpgatherdd/xmm, vm32x, xmm", "64/vfmaddps/xmm, xmm, xmm, xmm"}) {
        EXPECT_FALSE(at(absent).advertised) << absent;
        EXPECT_EQ(at(absent).reads_as, "") << absent;
    }
    EXPECT_FALSE(at("64/tzcnt/r32, r32").advertised);
    EXPECT_EQ(at("64/tzcnt/r32, r32").reads_as, "64/bsf/r32, r32");
    // Kinds.
    EXPECT_TRUE(at("64/lgdt/m16&64").memory);
    EXPECT_TRUE(at("64/lgdt/m16&64").system);
    EXPECT_TRUE(at("64/mov/CRn, r64").system);
    EXPECT_FALSE(at("64/mov/CRn, r64").memory);
    EXPECT_TRUE(at("64/hlt/").privileged);
    EXPECT_TRUE(at("64/in/AL, DX").io);
    EXPECT_TRUE(at("64/outsb/").io);
    EXPECT_TRUE(at("64/add/m8, r8").allows_lock);
    EXPECT_FALSE(at("64/add/r8, m8").allows_lock);
    EXPECT_TRUE(at("64/scasb/").allows_rep);
    EXPECT_FALSE(at("64/add/m8, r8").allows_rep);
    EXPECT_EQ(at("64/popcnt/r32, r32").encodings.size(), 1u);  // and not Knights Corner's as well
    // Every example is an instruction of its form, if it does not read as an older one.
    const FormNames names(CpuModel::standard());
    for (const auto& [key, form] : forms_) {
        if (!form.reads_as.empty()) {
            EXPECT_EQ(names.key(form.mode, form.example()), form.reads_as);
            continue;
        }
        for (const std::vector<u8>& example : form.encodings) EXPECT_EQ(names.key(form.mode, example), key);
    }
}

}  // namespace

}  // namespace dualvm::study
