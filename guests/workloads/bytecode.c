// A bytecode interpreter in the guest: one indirect jump for each bytecode. Its program adds up how many steps the
// Collatz sequence of each number from `size` down to 1 takes to reach 1.
#include "workload.h"

enum Code { kPush, kLoad, kStore, kAdd, kMultiply, kHalve, kIsOdd, kEquals, kJump, kJumpIfZero, kHalt };

enum Variable { kNumber, kCurrent, kSteps };

// clang-format off
static const unsigned char program[] = {
    /*  0 */ kLoad, kNumber, kStore, kCurrent,                     // current = number
    /*  4 */ kLoad, kCurrent, kPush, 1, kEquals, kJumpIfZero, 13,  // while current != 1
    /* 11 */ kJump, 44,
    /* 13 */ kLoad, kSteps, kPush, 1, kAdd, kStore, kSteps,        //     steps += 1
    /* 20 */ kLoad, kCurrent, kIsOdd, kJumpIfZero, 37,             //     if current is odd
    /* 25 */ kLoad, kCurrent, kPush, 3, kMultiply, kPush, 1, kAdd, //         current = 3 × current + 1
    /* 33 */ kStore, kCurrent, kJump, 4,
    /* 37 */ kLoad, kCurrent, kHalve, kStore, kCurrent, kJump, 4,  //     else current /= 2
    /* 44 */ kLoad, kNumber, kPush, 255, kAdd, kStore, kNumber,    // number -= 1 (the byte 255 is -1)
    /* 51 */ kLoad, kNumber, kJumpIfZero, 57, kJump, 0,            // until number == 0
    /* 57 */ kHalt,
};
// clang-format on

static uint64_t interpret(uint64_t* variables, uint64_t* stack) {
    const unsigned char* next = program;
    for (;;) {
        switch ((enum Code) * next++) {
            case kPush: *++stack = (uint64_t)(signed char)*next++; break;
            case kLoad: *++stack = variables[*next++]; break;
            case kStore: variables[*next++] = *stack--; break;
            case kAdd: --stack, stack[0] += stack[1]; break;
            case kMultiply: --stack, stack[0] *= stack[1]; break;
            case kHalve: *stack /= 2; break;
            case kIsOdd: *stack &= 1; break;
            case kEquals: --stack, stack[0] = stack[0] == stack[1]; break;
            case kJump: next = program + *next; break;
            case kJumpIfZero: next = *stack-- == 0 ? program + *next : next + 1; break;
            case kHalt: return variables[kSteps];
        }
    }
}

static uint64_t run(uint64_t size, unsigned char* memory) {
    uint64_t* const variables = (uint64_t*)memory;
    variables[kNumber] = size == 0 ? 1 : size;
    variables[kSteps] = 0;
    return interpret(variables, variables + 16);
}

const struct Workload workload = {"bytecode", 2000, run, 0};
