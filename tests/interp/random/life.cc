#include "life.h"

#include <array>
#include <cstring>

namespace dualvm::scene {

namespace {

// Small, so that it fills up and is emptied now and then.
constexpr u64 kBlockCacheBytes = u64{256} << 10;

}  // namespace

struct Lives::Machinery {
    explicit Machinery(std::vector<std::string> without)
        : machine(std::move(*Machine::create({.memory_mebibytes = kMemoryMebibytes}))),
          engine(make_interpreter(*machine, {.block_cache_bytes = kBlockCacheBytes, .without = std::move(without)})) {}

    // How the life ended.
    Exit run(const Life& life) {
        VMem& memory = machine->vmem();
        memory.set_a20(true);
        lay_out(memory, life.scene);
        (void)memory.write(kCode, life.code.data(), life.code.size());
        (void)memory.write(kData, life.data.data(), life.data.size());
        machine->cpu() = life.cpu;
        machine->cpu().msrs.tsc = 0;
        engine->push(Groups::All);
        const u64 before = engine->instructions();
        Exit exit = engine->run({.instructions = life.instructions});
        done = engine->instructions() - before;
        engine->pull(Groups::All);
        return exit;
    }

    std::unique_ptr<Machine> machine;
    std::unique_ptr<Engine> engine;
    u64 done = 0;  // instructions of the last life
};

Lives::Lives() {
    both_.push_back(std::make_unique<Machinery>(std::vector<std::string>{}));
    // Not without "fast": of a flag that is undefined, the host has another opinion than the manual's pseudocode.
    both_.push_back(std::make_unique<Machinery>(std::vector<std::string>{"flags", "fuse", "links"}));
}
Lives::~Lives() = default;

std::string Lives::live(const Life& life) {
    std::array<Exit, 2> ends;
    for (std::size_t i = 0; i < 2; ++i) ends[i] = both_[i]->run(life);
    Machinery &fast = *both_[0], &plain = *both_[1];
    std::string wrong;
    for (const Machinery* m : {&fast, &plain}) {
        if (m->done > life.instructions) wrong += "executed " + std::to_string(m->done) + " instructions\n";
    }
    if (ends[0].kind != ends[1].kind) {
        wrong += std::string("exit: ") + to_string(ends[0].kind) + " <> " + to_string(ends[1].kind) + '\n';
    }
    if (fast.done != plain.done) {
        wrong += "instructions: " + std::to_string(fast.done) + " <> " + std::to_string(plain.done) + '\n';
    }
    wrong += differences(fast.machine->cpu(), plain.machine->cpu(), Groups::All);
    constexpr u64 kBytes = kMemoryMebibytes << 20;
    for (const MemoryRegion& region : fast.machine->vmem().regions()) {
        for (u64 page = region.base; page < region.end() && page < kBytes; page += kPageSize) {
            if (std::memcmp(fast.machine->vmem().host_page(page), plain.machine->vmem().host_page(page), kPageSize) !=
                0)
                wrong += "memory differs in the page at " + std::to_string(page) + '\n';
        }
    }
    return wrong;
}

const CpuFile& Lives::plain_cpu() const { return both_[1]->machine->cpu(); }
const VMem& Lives::memory() const { return both_[1]->machine->vmem(); }
u64 Lives::instructions() const { return both_[0]->engine->instructions(); }
u64 Lives::faults() const { return both_[0]->engine->statistics().exceptions_delivered; }

}  // namespace dualvm::scene
