// A device of one's own on the shared machine: a counter at port 300h that counts the bytes written to it.
#include <dualvm/machine.h>

#include <cstdio>

namespace {

class ByteCounter final : public dualvm::Device {
public:
    const char* name() const override { return "byte-counter"; }
    dualvm::u64 read(dualvm::u64, unsigned) override { return count_; }
    void write(dualvm::u64, unsigned size, dualvm::u64) override { count_ += size; }
    void reset() override { count_ = 0; }
    void save(dualvm::ArchiveWriter& out) const override { out.put(count_); }
    void load(dualvm::ArchiveReader& in) override { in.get(count_); }

private:
    dualvm::u64 count_ = 0;
};

}  // namespace

int main() {
    auto created = dualvm::Machine::create({.memory_mebibytes = 1});
    if (!created) {
        std::fprintf(stderr, "%s\n", created.error().text.c_str());
        return 1;
    }
    dualvm::Machine& machine = **created;
    auto& counter = machine.own(std::make_unique<ByteCounter>());
    if (!machine.vio().ports().add(0x300, 4, counter)) return 1;

    machine.vio().write_port(0x300, 1, 'a');
    machine.vio().write_port(0x300, 4, 0);
    const dualvm::u64 count = machine.vio().read_port(0x300, 4);
    std::printf("the guest's device counted %llu bytes\n", static_cast<unsigned long long>(count));
    return count == 5 ? 0 : 1;
}
