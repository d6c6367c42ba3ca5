// An 8042 with keyboard and mouse on a machine, spoken to as a driver does.
#pragma once

#include <vector>

#include "device_test.h"
#include "dualvm/devices/i8042.h"

namespace dualvm::devices {

using Bytes = std::vector<int>;

class OnI8042 : public testing::Test {
protected:
    VirtualClock& clock() { return *machine->virtual_clock(); }
    void command(unsigned value) { i8042.write(I8042::kCommand, 1, value); }
    void data(unsigned value) { i8042.write(I8042::kData, 1, value); }
    void command(unsigned value, unsigned parameter) {
        command(value);
        data(parameter);
    }
    void to_mouse(unsigned value) { command(0xd4, value); }
    u64 status() { return i8042.read(I8042::kCommand, 1); }
    // What is in the output buffer now; nothing if it is empty.
    Bytes answer() {
        if ((status() & 1) == 0) return {};
        return {static_cast<int>(i8042.read(I8042::kData, 1))};
    }
    // All that comes without time passing, and all that comes in some time.
    Bytes answers() {
        Bytes all;
        while ((status() & 1) != 0) all.push_back(static_cast<int>(i8042.read(I8042::kData, 1)));
        return all;
    }
    Bytes all_that_comes() {
        Bytes all = answers();
        for (int i = 0; i < 64; ++i) {
            pass(clock(), I8042::kByteTime);
            for (int byte : answers()) all.push_back(byte);
        }
        return all;
    }
    Bytes type(Key key) {
        i8042.keyboard().press(key);
        i8042.keyboard().release(key);
        return all_that_comes();
    }
    static Key key(const char* name) { return *key_from_name(name); }
    // The keyboard's own codes, without the controller's translation.
    void raw() { command(0x60, 0x25); }
    bool reset_asked() {
        const auto request = machine->take_request();
        return request && request->kind == RequestKind::Reset;
    }

    std::unique_ptr<Machine> machine = *Machine::create({.memory_mebibytes = 1});
    Wire irq1, irq12;
    I8042 i8042{*machine, irq1.line(), irq12.line(), I8042::AfterReset::BiosDone};
};

}  // namespace dualvm::devices
