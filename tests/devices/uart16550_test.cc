#include "dualvm/devices/uart16550.h"

#include <string>

#include "device_test.h"

namespace dualvm::devices {
namespace {

enum : u64 { kData, kIer, kIir, kLcr, kMcr, kLsr, kMsr, kScratch, kFcr = kIir };
enum : u8 { kOut2 = 8, kLoop = 0x10, kDlab = 0x80 };

class Uart : public testing::Test {
protected:
    u8 in(u64 offset) { return static_cast<u8>(uart.read(offset, 1)); }
    void out(u64 offset, unsigned value) { uart.write(offset, 1, value); }
    void type(std::string_view text) { uart.receive({reinterpret_cast<const u8*>(text.data()), text.size()}); }
    std::string read_all() {
        std::string text;
        while (in(kLsr)&1) text += static_cast<char>(in(kData));
        return text;
    }
    // FIFOs on at this trigger level, receive interrupt on, 115200 8N1.
    void enable_receive_fifo(unsigned trigger_bits) {
        out(kLcr, kDlab | 3);
        out(kData, 1);
        out(kIer, 0);
        out(kLcr, 3);
        out(kFcr, trigger_bits << 6 | 1);
        out(kMcr, kOut2);
        out(kIer, 1);
    }
    static constexpr Nanoseconds kCharacter = 10 * 1'000'000'000ull / 115'200;

    VirtualClock clock;
    Wire irq;
    std::string sent;
    Uart16550 uart{clock, irq.line(), [this](u8 byte) { sent += static_cast<char>(byte); }};
};

TEST_F(Uart, SendsWhatIsWrittenToThr) {
    for (char c : std::string("hello")) out(kData, static_cast<u8>(c));
    EXPECT_EQ(sent, "hello");
    EXPECT_EQ(in(kLsr), 0x60);
}

TEST_F(Uart, AResetLeavesWhatIsStillToCome) {
    type("abcd");
    EXPECT_EQ(in(kData), 'a');  // without FIFO one character has come
    uart.reset();
    EXPECT_EQ(read_all(), "cd");
}

TEST_F(Uart, DlabGivesTheDivisorLatchInPlaceOfDataAndIer) {
    out(kIer, 1);
    out(kLcr, kDlab);
    out(kData, 0x34);
    out(kIer, 0x12);
    EXPECT_EQ(in(kData), 0x34);
    EXPECT_EQ(in(kIer), 0x12);
    out(kLcr, 0);
    EXPECT_EQ(in(kIer), 1);
    EXPECT_EQ(sent, "");
}

TEST_F(Uart, KeepsTheScratchRegister) {
    out(kScratch, 0x5a);
    EXPECT_EQ(in(kScratch), 0x5a);
}

TEST_F(Uart, NothingTypedIsLostHoweverFastItComes) {
    std::string long_text;
    for (int i = 0; i < 1000; ++i) long_text += static_cast<char>('a' + i % 26);
    type(long_text);
    EXPECT_EQ(uart.waiting(), 1000u);
    EXPECT_EQ(read_all(), long_text);
    EXPECT_EQ(uart.waiting(), 0u);
    EXPECT_EQ(in(kLsr)&2, 0) << "overrun";
}

TEST_F(Uart, InterruptsNeedOut2) {
    out(kIer, 1);
    type("x");
    EXPECT_FALSE(irq.level());
    out(kMcr, kOut2);
    EXPECT_TRUE(irq.level());
    EXPECT_EQ(in(kData), 'x');
    EXPECT_FALSE(irq.level());
}

TEST_F(Uart, EnablingTheTransmitInterruptWhileEmptyRaisesIt) {
    out(kMcr, kOut2);
    out(kIer, 2);
    EXPECT_TRUE(irq.level());
    EXPECT_EQ(in(kIir), 2);
    EXPECT_FALSE(irq.level()) << "reading IIR answers it";
    EXPECT_EQ(in(kIir), 1);
    out(kIer, 0);
    out(kIer, 2);
    EXPECT_EQ(in(kIir), 2) << "each enabling raises it, as Linux's THRE test wants";
}

TEST_F(Uart, EachCharacterWrittenRaisesANewTransmitInterrupt) {
    out(kMcr, kOut2);
    out(kIer, 2);
    irq.take_rises();
    out(kData, 'a');  // without IIR read in between: the line must fall and rise
    EXPECT_EQ(irq.take_rises(), 1);
    in(kIir);
    out(kData, 'b');
    EXPECT_EQ(irq.take_rises(), 1);
}

TEST_F(Uart, ReadingIirDoesNotAnswerATransmitInterruptThatAnotherOneHides) {
    out(kMcr, kOut2);
    out(kIer, 3);
    type("x");
    EXPECT_EQ(in(kIir), 4);
    in(kData);
    EXPECT_EQ(in(kIir), 2);
}

TEST_F(Uart, IdentifiesInterruptsByPriority) {
    out(kMcr, kLoop);
    in(kMsr);
    out(kIer, 0xf);
    out(kMcr, kLoop | 2);  // RTS: CTS changes
    out(kData, 'a');
    out(kData, 'b');  // overrun: there are no FIFOs
    EXPECT_EQ(in(kIir), 6);
    EXPECT_EQ(in(kLsr), 0x63);
    EXPECT_EQ(in(kIir), 4);
    EXPECT_EQ(in(kData), 'b') << "the receiver buffer was overwritten";
    EXPECT_EQ(in(kIir), 2);
    EXPECT_EQ(in(kIir), 0);
    EXPECT_EQ(in(kMsr)&0x1f, 0x11);
    EXPECT_EQ(in(kIir), 1);
}

TEST_F(Uart, TriggerLevelsHoldBackTheReceiveInterrupt) {
    const std::size_t levels[] = {1, 4, 8, 14};
    for (unsigned bits = 0; bits < 4; ++bits) {
        enable_receive_fifo(bits);
        type(std::string(levels[bits] - 1, 'x'));
        EXPECT_FALSE(irq.level()) << levels[bits];
        type("x");
        EXPECT_TRUE(irq.level()) << levels[bits];
        EXPECT_EQ(in(kIir), 0xc4);
        read_all();
        EXPECT_FALSE(irq.level());
    }
}

TEST_F(Uart, CharactersBelowTheTriggerLevelTimeOutAfterFourCharacterTimes) {
    enable_receive_fifo(2);
    type("abc");
    pass(clock, 4 * kCharacter - 1000);
    EXPECT_FALSE(irq.level());
    pass(clock, 2000);
    EXPECT_TRUE(irq.level());
    EXPECT_EQ(in(kIir), 0xcc);
    EXPECT_EQ(in(kData), 'a');
    EXPECT_FALSE(irq.level()) << "reading a character answers it";
    pass(clock, 4 * kCharacter + 1000);
    EXPECT_TRUE(irq.level()) << "and starts the time again";
}

TEST_F(Uart, ANewCharacterDoesNotTakeTheTimeoutBack) {
    enable_receive_fifo(2);
    type("a");
    pass(clock, 5 * kCharacter);
    EXPECT_EQ(in(kIir), 0xcc);
    type("b");
    EXPECT_EQ(in(kIir), 0xcc);
    out(kMcr, kOut2 | 1);
    EXPECT_EQ(in(kIir), 0xcc);
    EXPECT_EQ(clock.next_deadline(), kNever) << "it shows already: no alarm is needed";
}

TEST_F(Uart, TheTimeoutFollowsTheLineSettings) {
    enable_receive_fifo(1);
    out(kLcr, 0x0f);  // 8 bits, parity, two stop bits: 12 bit times
    type("a");
    pass(clock, 4 * kCharacter * 12 / 10 - 1000);
    EXPECT_FALSE(irq.level());
    pass(clock, 2000);
    EXPECT_TRUE(irq.level());
}

TEST_F(Uart, FifoControlBitsNeedBit0) {
    type("k");
    out(kFcr, 0xc2);
    EXPECT_EQ(in(kIir), 1) << "no FIFOs";
    EXPECT_EQ(in(kData), 'k') << "nothing was cleared";
    out(kFcr, 1);
    EXPECT_EQ(in(kIir), 0xc1);
    out(kMcr, kLoop);
    out(kData, 'x');
    out(kFcr, 3);
    EXPECT_EQ(in(kLsr), 0x60) << "emptied";
}

TEST_F(Uart, LoopbackHoldsSixteenCharactersAndThenOverruns) {
    out(kFcr, 7);
    out(kMcr, kLoop | kOut2);
    for (int i = 0; i < 256; ++i) out(kData, static_cast<u8>(i));
    EXPECT_EQ(in(kLsr), 0x63);
    int count = 0;
    while (in(kLsr)&1) EXPECT_EQ(in(kData), count++);
    EXPECT_EQ(count, 16);
    EXPECT_EQ(sent, "");
    EXPECT_FALSE(irq.level()) << "OUT2 is inactive in loopback";
}

TEST_F(Uart, LoopbackJoinsModemOutputsToInputs) {
    const std::pair<unsigned, unsigned> pairs[] = {{1, 0x20}, {2, 0x10}, {4, 0x40}, {8, 0x80}};
    for (auto [mcr, msr] : pairs) {
        out(kMcr, kLoop | mcr);
        EXPECT_EQ(in(kMsr)&0xf0u, msr);
    }
}

TEST_F(Uart, RingShowsItsTrailingEdge) {
    out(kMcr, kLoop);
    in(kMsr);
    out(kMcr, kLoop | 4);
    EXPECT_EQ(in(kMsr)&0xf, 0);
    out(kMcr, kLoop);
    EXPECT_EQ(in(kMsr)&0xf, 4);
}

TEST_F(Uart, WhatIsTypedDuringLoopbackComesAfterIt) {
    out(kMcr, kLoop);
    type("later");
    EXPECT_EQ(in(kLsr)&1, 0);
    out(kMcr, 0);
    EXPECT_EQ(read_all(), "later");
}

// What drivers/tty/serial/8250 of Linux does to find out what it has: IER holds four bits, the loopback of 0Ah gives
// 90h, the scratch register is there, IIR shows 16550A FIFOs and none of the later chips' extras.
TEST_F(Uart, LinuxsProbeFindsA16550A) {
    out(kIer, 0);
    EXPECT_EQ(in(kIer)&0xf, 0);
    out(kIer, 0xf);
    EXPECT_EQ(in(kIer), 0xf);
    out(kIer, 0);
    out(kMcr, kLoop | 0xa);
    EXPECT_EQ(in(kMsr)&0xf0, 0x90);
    out(kMcr, 0);
    out(kLcr, 0xbf);
    out(kIir, 0);
    out(kLcr, 0);
    out(kFcr, 1);
    EXPECT_EQ(in(kIir) >> 6, 3);
    out(kLcr, kDlab);
    EXPECT_NE(in(kIir), 0) << "an EFR here would be a 16C650";
    out(kLcr, 0xbf);
    EXPECT_NE(in(kIir), 0) << "an EFR here would be a 16650V2";
    out(kLcr, kDlab);
    out(kFcr, 0x21);
    EXPECT_EQ(in(kIir) >> 5, 6) << "bit 5 would be a 16750";
    out(kLcr, 0);
    out(kIer, 0x40);
    EXPECT_EQ(in(kIer), 0) << "bit 6 would be an XScale's";
}

TEST_F(Uart, TellsWhetherInputCouldWakeAHaltedGuest) {
    EXPECT_FALSE(uart.interrupts_on_input());
    enable_receive_fifo(0);
    EXPECT_TRUE(uart.interrupts_on_input());
}

TEST_F(Uart, WideAccessesReachOneRegisterAfterTheOther) {
    uart.write(kLcr, 1, kDlab);
    uart.write(kData, 2, 0x1234);
    EXPECT_EQ(uart.read(kData, 2), 0x1234u);
}

TEST_F(Uart, LoadedElsewhereItGoesOnWhereItWas) {
    enable_receive_fifo(2);
    type(std::string(20, 'a') + "end");
    for (int i = 0; i < 17; ++i) in(kData);
    pass(clock, 2 * kCharacter);
    VirtualClock other_clock;
    other_clock.skip_to(999'999'999);
    Wire other_irq;
    Uart16550 other{other_clock, other_irq.line(), {}};
    ASSERT_TRUE(load(other, saved(uart)));
    EXPECT_EQ(saved(other), saved(uart));
    EXPECT_EQ(other.waiting(), 6u);
    EXPECT_FALSE(other_irq.level());
    pass(other_clock, 2 * kCharacter + 2000);
    EXPECT_TRUE(other_irq.level());
    EXPECT_EQ(other.read(kData, 1), u64{'a'});
}

}  // namespace
}  // namespace dualvm::devices
