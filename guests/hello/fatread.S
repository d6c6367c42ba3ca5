// A boot sector that reads a file: it finds README.TXT on the FAT12 floppy disk that it stands on, has the BIOS read it
// (INT 13h), and prints it on COM1. `mformat -B fatread.bin` puts it on a disk, around what the disk says of itself
// (the BIOS parameter block; Microsoft, "FAT: General Overview of On-Disk Format", 1.03).
    .intel_syntax noprefix
    .equ COM1, 0x3f8
    .equ DEBUG_EXIT, 0xf4

    // The BIOS parameter block, filled in by whoever formats the disk.
    .equ BYTES_IN_SECTOR, 0x7c00 + 11
    .equ SECTORS_IN_CLUSTER, 0x7c00 + 13
    .equ RESERVED_SECTORS, 0x7c00 + 14
    .equ FATS, 0x7c00 + 16
    .equ ROOT_ENTRIES, 0x7c00 + 17
    .equ SECTORS_IN_FAT, 0x7c00 + 22
    .equ SECTORS_IN_TRACK, 0x7c00 + 24
    .equ HEADS, 0x7c00 + 26

    // Behind the boot sector: variables, then what is read.
    .equ drive, 0x7e00
    .equ first_data_sector, 0x7e02
    .equ fat, 0x8000
    .equ root, 0xa000
    .equ cluster, 0xc000

    // In a directory entry
    .equ FIRST_CLUSTER, 26
    .equ FILE_SIZE, 28

    .text
    .code16
    .globl _start
_start:
    jmp begin
    .org 62                    // the parameter block is in between
begin:
    jmp 0:reload_cs
reload_cs:
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    cld
    mov [drive], dl

    mov si, [RESERVED_SECTORS]
    mov cx, [SECTORS_IN_FAT]
    mov bx, OFFSET fat
    call read_sectors

    mov al, [FATS]
    cbw
    mul WORD PTR [SECTORS_IN_FAT]
    add ax, [RESERVED_SECTORS]
    mov si, ax
    mov cx, [ROOT_ENTRIES]
    shr cx, 4                  // 16 entries in a sector
    mov bx, OFFSET root
    call read_sectors
    mov [first_data_sector], si

    mov di, OFFSET root
    mov dx, [ROOT_ENTRIES]
next_entry:
    push di
    mov si, OFFSET name
    mov cx, 11
    repe cmpsb
    pop di
    je found
    add di, 32
    dec dx
    jnz next_entry
    mov si, OFFSET no_file
    jmp failed

found:
    mov ebp, [di + FILE_SIZE]
    mov ax, [di + FIRST_CLUSTER]
next_cluster:
    push ax
    sub ax, 2                  // the first cluster of the data is number 2
    movzx cx, BYTE PTR [SECTORS_IN_CLUSTER]
    mul cx
    add ax, [first_data_sector]
    mov si, ax
    mov ax, cx
    mul WORD PTR [BYTES_IN_SECTOR]
    push ax
    mov bx, OFFSET cluster
    call read_sectors
    pop cx
    mov si, OFFSET cluster
next_byte:
    test ebp, ebp
    jz done
    lodsb
    call print
    dec ebp
    loop next_byte
    pop ax                     // 12 bits of the FAT say which cluster is next
    mov bx, ax
    shr bx, 1
    add bx, ax
    test al, 1
    mov ax, [bx + fat]
    jz even
    shr ax, 4
even:
    and ax, 0xfff
    cmp ax, 0xff7              // from here on: bad, or the end
    jb next_cluster
    mov si, OFFSET too_short
    jmp failed
done:
    xor al, al
end:
    out DEBUG_EXIT, al
    cli
stop:
    hlt
    jmp stop

failed:
    lodsb
    test al, al
    mov ah, al
    mov al, 1
    jz end
    mov al, ah
    call print
    jmp failed

// CX sectors from SI on, to BX; both go on.
read_sectors:
    push cx
    mov ax, si
    xor dx, dx
    div WORD PTR [SECTORS_IN_TRACK]
    mov cl, dl
    inc cx                     // sectors count from 1
    xor dx, dx
    div WORD PTR [HEADS]
    mov ch, al                 // the cylinder
    mov dh, dl                 // the head
    mov dl, [drive]
    mov ax, 0x0201
    int 0x13
    pop cx
    jc unreadable
    add bx, [BYTES_IN_SECTOR]
    inc si
    loop read_sectors
    ret
unreadable:
    mov si, OFFSET no_disk
    jmp failed

// Prints AL.
print:
    push ax
    mov dx, COM1 + 5           // line status: bit 5, transmitter empty
wait_empty:
    in al, dx
    test al, 0x20
    jz wait_empty
    pop ax
    mov dx, COM1
    out dx, al
    ret

name:
    .ascii "README  TXT"
no_file:
    .asciz "no README.TXT\n"
no_disk:
    .asciz "the disk cannot be read\n"
too_short:
    .asciz "the file ends too early\n"

    .org 510
    .byte 0x55, 0xaa
