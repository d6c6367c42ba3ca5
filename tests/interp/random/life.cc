#include "life.h"

#include <array>
#include <cstring>

namespace dualvm::scene {

namespace {

// Small, so that it fills up and is emptied now and then.
constexpr u64 kBlockCacheBytes = u64{256} << 10;

}  // namespace

// A machine that is always in the same scene, and its engine.
struct Lives::Machinery {
    Machinery(const Scene& scene, std::vector<std::string> without)
        : machine(std::move(*Machine::create({.memory_mebibytes = kMemoryMebibytes}))),
          engine(make_interpreter(*machine, {.block_cache_bytes = kBlockCacheBytes, .without = std::move(without)})),
          pristine(kMemoryMebibytes << 20) {
        lay_out(machine->vmem(), scene);
        (void)machine->vmem().read(0, pristine.data(), pristine.size());
        machine->vmem().clear_dirty();
    }

    void run(const Life& life) {
        VMem& memory = machine->vmem();
        memory.set_a20(true);
        for (u64 page = 0; page < pristine.size(); page += kPageSize) {
            if (memory.is_dirty(page)) (void)memory.write(page, &pristine[page], kPageSize);
        }
        memory.clear_dirty();
        (void)memory.write(kCode, life.code.data(), life.code.size());
        (void)memory.write(kData, life.data.data(), life.data.size());
        for (const auto& [address, value] : life.pokes) (void)memory.write_value(address, value);
        machine->cpu() = life.cpu;
        machine->cpu().msrs.tsc = 0;
        engine->push(Groups::All);
        const u64 before = engine->instructions();
        end = engine->run({.instructions = life.instructions});
        done = engine->instructions() - before;
        engine->pull(Groups::All);
    }

    std::unique_ptr<Machine> machine;
    std::unique_ptr<Engine> engine;
    std::vector<u8> pristine;  // memory as the scene has it
    Exit end;                  // of the last life
    u64 done = 0;              // its instructions
};

Lives::Lives() {
    for (const Scene& scene : all_scenes()) {
        both_.push_back({std::make_unique<Machinery>(scene, std::vector<std::string>{}),
                         // Not without "fast": of a flag that is undefined, the host has another opinion than the
                         // manual's pseudocode.
                         std::make_unique<Machinery>(scene, std::vector<std::string>{"flags", "fuse", "links"})});
    }
}
Lives::~Lives() = default;

std::string Lives::live(const Life& life) {
    last_ = life.scene;
    Machinery &fast = *both_[last_][0], &plain = *both_[last_][1];
    fast.run(life);
    plain.run(life);
    instructions_ += fast.done;
    std::string wrong;
    for (const Machinery* m : {&fast, &plain}) {
        if (m->done > life.instructions) wrong += "executed " + std::to_string(m->done) + " instructions\n";
    }
    if (fast.end.kind != plain.end.kind) {
        wrong += std::string("exit: ") + to_string(fast.end.kind) + " <> " + to_string(plain.end.kind) + '\n';
    }
    if (fast.done != plain.done) {
        wrong += "instructions: " + std::to_string(fast.done) + " <> " + std::to_string(plain.done) + '\n';
    }
    wrong += differences(fast.machine->cpu(), plain.machine->cpu(), Groups::All);
    const VMem &a = fast.machine->vmem(), &b = plain.machine->vmem();
    for (u64 page = 0; page < fast.pristine.size(); page += kPageSize) {
        if (!a.is_dirty(page) && !b.is_dirty(page)) continue;
        if (std::memcmp(a.host_page(page), b.host_page(page), kPageSize) != 0)
            wrong += "memory differs in the page at " + std::to_string(page) + '\n';
    }
    return wrong;
}

const CpuFile& Lives::plain_cpu() const { return both_[last_][1]->machine->cpu(); }
const VMem& Lives::memory() const { return both_[last_][1]->machine->vmem(); }

}  // namespace dualvm::scene
