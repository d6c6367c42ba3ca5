// The way into a case and out of it again: see cases32.h.
    .intel_syntax noprefix
    .code32

    .equ R_AX, 0
    .equ R_CX, 4
    .equ R_DX, 8
    .equ R_BX, 12
    .equ R_SP, 16
    .equ R_BP, 20
    .equ R_SI, 24
    .equ R_DI, 28
    .equ R_IP, 32
    .equ R_CS, 36
    .equ R_FLAGS, 40
    .equ R_SS, 44
    .equ R_DS, 48
    .equ R_ES, 52
    .equ R_FS, 56
    .equ R_GS, 60
    .equ R_VECTOR, 64
    .equ R_ERROR, 68
    .equ VM, 1 << 17

    .bss
    .balign 16
own_stack:
    .fill 4
    .balign 16
    .fill 4096
    .globl ring0_stack_top
ring0_stack_top:
    .fill 4096
    .globl double_fault_stack_top
double_fault_stack_top:

    .text
    .globl enter_case
enter_case:
    pushad
    mov own_stack, esp
    mov ebx, OFFSET case_registers
    test DWORD PTR [ebx + R_FLAGS], VM
    jnz from_own_stack_virtual
    test DWORD PTR [ebx + R_CS], 3
    jnz from_own_stack
    lss esp, [own_far_pointer]  // an interrupt return within ring 0 takes no stack: the case's is loaded before
    jmp flags_and_code
from_own_stack_virtual:
    push [ebx + R_GS]
    push [ebx + R_FS]
    push [ebx + R_DS]
    push [ebx + R_ES]
from_own_stack:
    push [ebx + R_SS]
    push [ebx + R_SP]
flags_and_code:
    push [ebx + R_FLAGS]
    push [ebx + R_CS]
    push [ebx + R_IP]
    mov eax, [ebx + R_ES]
    mov ecx, [ebx + R_FS]
    mov edx, [ebx + R_GS]
    test DWORD PTR [ebx + R_FLAGS], VM
    jnz 1f
    mov es, eax
    mov fs, ecx
    mov gs, edx
1:  mov eax, [ebx + R_AX]
    mov ecx, [ebx + R_CX]
    mov edx, [ebx + R_DX]
    mov ebp, [ebx + R_BP]
    mov esi, [ebx + R_SI]
    mov edi, [ebx + R_DI]
    push [ebx + R_BX]
    test DWORD PTR [ebx + R_FLAGS], VM
    jnz 2f
    mov ebx, [ebx + R_DS]
    mov ds, ebx
2:  pop ebx
    iretd

    .data
    .globl own_far_pointer
own_far_pointer:
    .long 0, 0

    .text
// One entry for each vector, 16 bytes apart.
    .balign 16
    .globl case_entries
case_entries:
    .set vector, 0
    .rept 32
    .balign 16
    .if (vector != 8) && (vector < 10 || vector > 14) && (vector != 17)
    push 0
    .endif
    push vector
    jmp case_ended
    .set vector, vector + 1
    .endr

// The stack may be anybody's. What is on it is taken with POP, whose stack and size are those that the CPU pushed with.
case_ended:
    push eax
    mov eax, ds
    push eax
    mov eax, 0x10
    mov ds, eax
    mov case_registers + R_BX, ebx
    mov ebx, OFFSET case_registers
    pop [ebx + R_DS]
    pop [ebx + R_AX]
    mov [ebx + R_CX], ecx
    mov [ebx + R_DX], edx
    mov [ebx + R_BP], ebp
    mov [ebx + R_SI], esi
    mov [ebx + R_DI], edi
    pop [ebx + R_VECTOR]
    pop [ebx + R_ERROR]
    pop [ebx + R_IP]
    pop [ebx + R_CS]
    pop [ebx + R_FLAGS]
    mov eax, es
    mov [ebx + R_ES], eax
    mov eax, fs
    mov [ebx + R_FS], eax
    mov eax, gs
    mov [ebx + R_GS], eax
    test DWORD PTR [ebx + R_FLAGS], VM
    jnz 1f
    test DWORD PTR [ebx + R_CS], 3
    jnz 2f
    mov [ebx + R_SP], esp
    mov eax, ss
    mov [ebx + R_SS], eax
    jmp 3f
1:  pop [ebx + R_SP]
    pop [ebx + R_SS]
    pop [ebx + R_ES]
    pop [ebx + R_DS]
    pop [ebx + R_FS]
    pop [ebx + R_GS]
    jmp 3f
2:  pop [ebx + R_SP]
    pop [ebx + R_SS]
3:  mov eax, 0x10
    mov ss, eax
    mov esp, own_stack
    mov es, eax
    mov fs, eax
    mov gs, eax
    cld
    popad
    ret

// A double fault is a task of its own, so that a ring-0 case may have any stack. Its registers are in the old TSS.
    .globl double_fault_entry
double_fault_entry:
    mov DWORD PTR case_registers + R_VECTOR, 8
    pop DWORD PTR case_registers + R_ERROR
    mov esp, own_stack
    mov ebp, 0
    clts
    pushfd
    and DWORD PTR [esp], ~(1 << 14)  // NT
    popfd
    popad
    ret
