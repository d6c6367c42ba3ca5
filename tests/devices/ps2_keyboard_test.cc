// The keyboard, through a controller that hands its codes on as they are.
#include <algorithm>
#include <set>

#include "i8042_test.h"

namespace dualvm::devices {
namespace {

class Keyboard : public OnI8042 {
protected:
    Keyboard() { raw(); }
    Bytes ask(unsigned byte) {
        data(byte);
        return answers();
    }
    void use_set(unsigned set) {
        data(0xf0);
        data(set);
        ASSERT_EQ(answers(), (Bytes{0xfa, 0xfa}));
    }
};

TEST_F(Keyboard, SendsMakeAndBreakCodesInEachSet) {
    EXPECT_EQ(type(key("a")), (Bytes{0x1c, 0xf0, 0x1c}));
    EXPECT_EQ(type(key("up")), (Bytes{0xe0, 0x75, 0xe0, 0xf0, 0x75}));
    use_set(1);
    EXPECT_EQ(type(key("a")), (Bytes{0x1e, 0x9e}));
    EXPECT_EQ(type(key("up")), (Bytes{0xe0, 0x48, 0xe0, 0xc8}));
    use_set(3);
    EXPECT_EQ(type(key("a")), Bytes{0x1c}) << "letters repeat and tell of no release";
    EXPECT_EQ(type(key("up")), Bytes{0x63});
    EXPECT_EQ(type(key("shift")), (Bytes{0x12, 0xf0, 0x12}));
}

TEST_F(Keyboard, ThroughTheControllersTranslationSet2IsSet1) {
    command(0x60, 0x65);
    EXPECT_EQ(type(key("f7")), (Bytes{0x41, 0xc1}));
    EXPECT_EQ(type(key("f12")), (Bytes{0x58, 0xd8}));
    EXPECT_EQ(type(key("delete")), (Bytes{0xe0, 0x53, 0xe0, 0xd3}));
    EXPECT_EQ(type(key("pause")), (Bytes{0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5}));
}

// F0h has been taken from the keyboard, and its code is on the cable.
TEST_F(Keyboard, AnAnswerBetweenTheTwoBytesOfABreakCodeLeavesItABreakCode) {
    command(0x60, 0x65);
    i8042.keyboard().press(key("a"));
    ASSERT_EQ(all_that_comes(), Bytes{0x1e});
    i8042.keyboard().release(key("a"));
    pass(clock(), I8042::kByteTime);
    ASSERT_EQ(answers(), Bytes{});
    EXPECT_EQ(ask(0xed), Bytes{0xfa});
    EXPECT_EQ(ask(2), Bytes{0xfa});
    EXPECT_EQ(all_that_comes(), Bytes{0x9e});
}

TEST_F(Keyboard, ABreakCodeThatTheKeyboardForgetsHalfOfIsNone) {
    command(0x60, 0x65);
    i8042.keyboard().press(key("a"));
    ASSERT_EQ(all_that_comes(), Bytes{0x1e});
    i8042.keyboard().release(key("a"));
    pass(clock(), I8042::kByteTime);
    EXPECT_EQ(ask(0xf4), Bytes{0xfa});  // enable: it clears its queue
    EXPECT_EQ(type(key("b")), (Bytes{0x30, 0xb0}));
}

TEST_F(Keyboard, PauseComesAllAtOnce) {
    EXPECT_EQ(type(key("pause")), (Bytes{0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77}));
    i8042.keyboard().press(key("ctrl"));
    EXPECT_EQ(type(key("pause")), (Bytes{0x14, 0xe0, 0x7e, 0xe0, 0xf0, 0x7e}));
}

TEST_F(Keyboard, PrintScreenDependsOnWhatIsHeld) {
    EXPECT_EQ(type(key("print")), (Bytes{0xe0, 0x12, 0xe0, 0x7c, 0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12}));
    i8042.keyboard().press(key("alt"));
    EXPECT_EQ(type(key("print")), (Bytes{0x11, 0x84, 0xf0, 0x84}));
    i8042.keyboard().release(key("alt"));
    i8042.keyboard().press(key("shift"));
    EXPECT_EQ(type(key("print")), (Bytes{0xf0, 0x11, 0x12, 0xe0, 0x7c, 0xe0, 0xf0, 0x7c}));
}

TEST_F(Keyboard, EveryKeyHasACodeOfItsOwnInEverySet) {
    for (unsigned set : {1u, 2u, 3u}) {
        use_set(set);
        EXPECT_EQ(ask(0xfa), Bytes{0xfa}) << "all keys of set 3 tell of their release";
        std::set<Bytes> seen;
        std::set<Key> keys;
        for (const KeyName& each : key_names()) {
            if (!keys.insert(each.key).second) continue;  // another name for the same
            const Bytes codes = type(each.key);
            EXPECT_FALSE(codes.empty()) << each.name;
            EXPECT_TRUE(seen.insert(codes).second) << each.name << " in set " << set;
        }
        EXPECT_EQ(keys.size(), 105u);
    }
}

TEST_F(Keyboard, IdentifiesItselfEchoesAndResets) {
    EXPECT_EQ(ask(0xf2), (Bytes{0xfa, 0xab, 0x83}));
    EXPECT_EQ(ask(0xee), Bytes{0xee});
    EXPECT_EQ(ask(0xff), (Bytes{0xfa, 0xaa}));
    EXPECT_EQ(ask(0x00), Bytes{0xfe}) << "no command";
}

TEST_F(Keyboard, TakesLedsAndASetAsParameters) {
    EXPECT_EQ(ask(0xed), Bytes{0xfa});
    EXPECT_EQ(ask(0x05), Bytes{0xfa});
    EXPECT_EQ(i8042.keyboard().leds(), 5);
    EXPECT_EQ(ask(0xf0), Bytes{0xfa});
    EXPECT_EQ(ask(0x00), (Bytes{0xfa, 0x02}));
    EXPECT_EQ(ask(0xf0), Bytes{0xfa});
    EXPECT_EQ(ask(0x04), Bytes{0xfe}) << "there is no set 4";
}

TEST_F(Keyboard, ACommandInPlaceOfAParameterIsACommand) {
    EXPECT_EQ(ask(0xed), Bytes{0xfa});
    EXPECT_EQ(ask(0xf2), (Bytes{0xfa, 0xab, 0x83}));
    EXPECT_EQ(i8042.keyboard().leds(), 0);
}

TEST_F(Keyboard, ResendsTheLastByte) {
    EXPECT_EQ(ask(0xf2), (Bytes{0xfa, 0xab, 0x83}));
    EXPECT_EQ(ask(0xfe), Bytes{0x83});
    EXPECT_EQ(ask(0xfe), Bytes{0x83});
}

TEST_F(Keyboard, IsSilentWhileDisabled) {
    EXPECT_EQ(ask(0xf5), Bytes{0xfa});
    EXPECT_FALSE(i8042.keys_welcome());
    EXPECT_EQ(type(key("a")), Bytes{});
    EXPECT_EQ(ask(0xf6), Bytes{0xfa}) << "defaults; that it is silent stays";
    EXPECT_EQ(type(key("a")), Bytes{});
    EXPECT_EQ(ask(0xf4), Bytes{0xfa});
    EXPECT_EQ(type(key("a")), (Bytes{0x1c, 0xf0, 0x1c}));
}

TEST_F(Keyboard, AKeyPressedTwiceIsPressedOnce) {
    i8042.keyboard().press(key("a"));
    i8042.keyboard().press(key("a"));
    i8042.keyboard().release(key("b"));
    EXPECT_EQ(all_that_comes(), Bytes{0x1c});
}

TEST_F(Keyboard, AFullQueueEndsInTheOverrunCode) {
    command(0xad);  // nothing is taken
    for (int i = 0; i < 10; ++i) {
        i8042.keyboard().press(key("a"));
        i8042.keyboard().release(key("a"));
    }
    command(0xae);
    Bytes expected;
    for (int i = 0; i < 5; ++i) expected.insert(expected.end(), {0x1c, 0xf0, 0x1c});
    expected.insert(expected.end(), {0x1c, 0x00});
    EXPECT_EQ(all_that_comes(), expected);
    EXPECT_EQ(type(key("b")), (Bytes{0x32, 0xf0, 0x32})) << "it goes on afterwards";
}

TEST_F(Keyboard, RepeatsTheKeyThatIsHeld) {
    constexpr Nanoseconds kDelay = 500'000'000, kPeriod = 91'740'000;
    i8042.keyboard().press(key("a"));
    pass(clock(), kDelay - 1);
    EXPECT_EQ(answers(), Bytes{0x1c});
    for (int i = 0; i < 3; ++i) {
        pass(clock(), i == 0 ? I8042::kByteTime + 1 : kPeriod);
        EXPECT_EQ(answers(), Bytes{0x1c}) << i;
    }
    i8042.keyboard().release(key("a"));
    EXPECT_EQ(all_that_comes(), (Bytes{0xf0, 0x1c}));
    pass(clock(), 10 * kDelay);
    EXPECT_EQ(answers(), Bytes{});
}

TEST_F(Keyboard, TheTypematicRateCanBeSet) {
    EXPECT_EQ(ask(0xf3), Bytes{0xfa});
    EXPECT_EQ(ask(0x00), Bytes{0xfa});  // 250 ms, 30 a second
    i8042.keyboard().press(key("a"));
    int repeats = 0;
    for (int i = 0; i < 1000; ++i) {
        pass(clock(), 1'250'000);
        repeats += static_cast<int>(answers().size());
    }
    EXPECT_EQ(repeats, 1 + 30);
}

TEST_F(Keyboard, RepeatsDoNotFillTheQueue) {
    command(0xad);
    i8042.keyboard().press(key("a"));
    pass(clock(), 60'000'000'000);
    i8042.keyboard().release(key("a"));
    command(0xae);
    const Bytes all = all_that_comes();
    EXPECT_LT(all.size(), 16u);
    EXPECT_EQ((Bytes{all.end() - 2, all.end()}), (Bytes{0xf0, 0x1c})) << "the release is not lost";
}

TEST_F(Keyboard, InSet3KeysCanBeGivenTypes) {
    use_set(3);
    EXPECT_EQ(ask(0xf8), Bytes{0xfa});  // all make and break
    EXPECT_EQ(type(key("a")), (Bytes{0x1c, 0xf0, 0x1c}));
    EXPECT_EQ(ask(0xfd), Bytes{0xfa});  // this one: make only
    EXPECT_EQ(ask(0x1c), Bytes{0xfa});
    EXPECT_EQ(type(key("a")), Bytes{0x1c});
    EXPECT_EQ(type(key("b")), (Bytes{0x32, 0xf0, 0x32}));
    EXPECT_EQ(ask(0xfd), Bytes{0xfa});
    EXPECT_EQ(ask(0x99), Bytes{0xfe}) << "no key has this code";
}

TEST_F(Keyboard, AGuestThatNeverReadsDoesNoHarm) {
    for (int i = 0; i < 1000; ++i) data(0xf2);
    EXPECT_LE(answers().size(), 17u);
    EXPECT_EQ(ask(0xee), Bytes{0xee});
}

TEST(Keystrokes, TypeEachPrintableCharacter) {
    for (char c = ' '; c < 0x7f; ++c) EXPECT_TRUE(keystroke_for(c)) << c;
    EXPECT_FALSE(keystroke_for('\x80'));
    EXPECT_EQ(keystroke_for('A')->key, keystroke_for('a')->key);
    EXPECT_TRUE(keystroke_for('A')->shift);
    EXPECT_EQ(keystroke_for('?')->key, *key_from_name("slash"));
    EXPECT_TRUE(keystroke_for('?')->shift);
    EXPECT_FALSE(keystroke_for('/')->shift);
}

}  // namespace
}  // namespace dualvm::devices
