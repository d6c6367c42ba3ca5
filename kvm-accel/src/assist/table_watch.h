// Which of the guest's page tables KVM may know by heart, and whether they are still what it knows.
//
// Where KVM shadows page tables, it hears of what the guest's code writes to them, but not of what user space does, and
// that is where the guest's kernel runs. So the tables that a program's addresses go through are kept as they were when
// the program ran last, and compared when it is to run again. An entry that was not present, or that allows more than
// before, needs nothing: KVM looks again when the program faults on it. One that leads elsewhere or allows less does.
//
// The walk also tells what KVM's programs may have written to: pages that the tables let ring 3 write, and that are
// marked dirty.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "dualvm/vmem.h"

namespace dualvm::kvm {

class TableWatch {
public:
    explicit TableWatch(VMem& vmem) : vmem_(vmem) {}

    // Pages that no program may reach: the VMM's own.
    void keep_out(u64 base, u64 size) {
        forbidden_ = base;
        forbidden_size_ = size;
    }

    enum class Verdict : u8 {
        Known,       // KVM's shadows hold
        Stale,       // they must be dropped
        Impossible,  // a table is not in memory, or leads into what is kept out: nothing for KVM, and all is forgotten:
                     // the shadows must be dropped as well
    };
    // The 4-level tables at `root` before a program runs under them.
    Verdict before(u64 root);
    // The same after it ran, when the CPU may have set accessed and dirty bits. False: the tables have changed in other
    // ways, by a device or by a program that has them among its pages. What KVM then knows of them, nobody can tell,
    // nor where the program has written to.
    bool after(u64 root);

    // Guest-physical memory that the program may have written to when after() was called last: everything, if it cannot
    // be told or is too much to list.
    struct Range {
        u64 address = 0, size = 0;
        bool operator==(const Range&) const = default;
    };
    const std::vector<Range>& writable_dirty() const { return written_; }

    // Where a program finds a linear address in memory, if it can read there.
    std::optional<u64> translate(u64 root, u64 linear) const;
    void forget() { tables_.clear(); }

    u64 tables() const { return tables_.size(); }

private:
    struct Table {
        std::array<u64, 512> entries;
        unsigned level = 0;
        std::vector<u64> children;  // entries of tables below that ring 3 can use
        std::vector<Range> dirty;   // of leaf entries that are writable by ring 3 and dirty
        bool forbidden = false;     // a leaf entry leads to what is kept out
        bool in_visit = false;
        u64 walk = 0;  // the last one that came by
    };
    enum class Pass : u8 { Before, After };

    static constexpr Range kEverything = {0, u64{1} << 52};

    bool visit(u64 address, unsigned level, bool writable, Pass pass);
    void adopt(Table& table, const u64* entries);

    VMem& vmem_;
    u64 forbidden_ = 0, forbidden_size_ = 0;
    std::unordered_map<u64, std::unique_ptr<Table>> tables_;  // by guest-physical address
    std::vector<Range> written_;
    bool stale_ = false, impossible_ = false, changed_ = false;
    bool distrusted_ = false;  // the shadows must be dropped before a program runs again
    unsigned visits_ = 0;
    u64 walk_ = 0;
};

// Does KVM's knowledge of `before` hold for `now`? A pure function; `leaf`: it maps a page. SDM vol. 3A, 4.10.4.3:
// which changes of an entry need no invalidation.
bool still_holds(u64 before, u64 now, bool leaf);

}  // namespace dualvm::kvm
