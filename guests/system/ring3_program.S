// The kernel's side of SYSCALL, and the program that system/ring3.c runs at ring 3.
    .intel_syntax noprefix
    .code64
    .text

// SYSCALL: RIP is in RCX, RFLAGS in R11, and RSP is still the program's (Intel SDM volume 2, SYSCALL).
    .globl syscall_entry
syscall_entry:
    mov user_rsp[rip], rsp
    lea rsp, kernel_stack_top[rip]
    push rcx
    push r11
    mov rcx, rdx               // number, and three arguments, as C wants them
    mov rdx, rsi
    mov rsi, rdi
    mov rdi, rax
    call syscall
    pop r11
    pop rcx
    mov rsp, user_rsp[rip]
    sysretq

    .bss
    .balign 16
user_rsp:
    .fill 16
    .fill 4096
kernel_stack_top:

// --- ring 3: copied to an address of its own, so it says where things are only by distances ---
    .section .rodata
    .globl user_program, user_program_end
user_program:
    // write(1, hello, ...) by SYSCALL
    mov rbx, rsp
    mov eax, 1
    mov edi, 1
    lea rsi, hello[rip]
    mov edx, OFFSET hello_end - hello
    syscall
    cmp rax, OFFSET hello_end - hello
    jne failed
    cmp rsp, rbx               // the stack is ours again
    jne failed
    // the same by INT 80h
    mov eax, 4
    mov ebx, 1
    lea rcx, again[rip]
    mov edx, OFFSET again_end - again
    int 0x80
    cmp rax, OFFSET again_end - again
    jne failed
    // a system call that is not there
    mov eax, 999
    syscall
    cmp rax, -38
    jne failed
    // what only the kernel may
    xor eax, eax
    mov r15d, 1
    cli
    inc rax
    jnz failed
    mov dx, 0x3f8
    in al, dx
    inc rax
    jnz failed
    mov r15d, 3
    mov rbx, cr3
    inc rax
    jnz failed
    mov r15d, 2
    mov ecx, 0x100000          // the kernel's first byte
    mov [rcx], eax
    inc rax
    jnz failed
    // exit(7)
    mov edi, 7
    jmp leave_program
failed:
    mov edi, 1
leave_program:
    mov eax, 60
    syscall
hello:
    .ascii "Hello from ring 3, by SYSCALL\n"
hello_end:
again:
    .ascii "Hello from ring 3, by INT 80h\n"
again_end:
user_program_end:
