// Reads the first sectors of the first IDE disk by PIO and by bus-master DMA, writes one and reads it back, and prints
// checksums. (ATA/ATAPI-6; Programming Interface for Bus Master IDE Controller.)
#include "../runtime/guest.h"
#include "../runtime/ports.h"

enum { kData = 0x1f0, kCount = 0x1f2, kLow, kMid, kHigh, kDevice, kStatus, kControl = 0x3f6 };
enum { kBusy = 0x80, kDataRequest = 8, kError = 1, kLba = 0xe0 };
enum { kRead = 0x20, kWrite = 0x30, kReadDma = 0xc8, kWriteDma = 0xca, kFlush = 0xe7, kIdentify = 0xec };
enum { kSectors = 16, kWords = 256 };

static uint16_t buffer[kSectors * kWords] __attribute__((aligned(4096)));
static struct { uint32_t address, count; } table[2] __attribute__((aligned(16)));

static uint32_t config(uint32_t reg) {  // of PIIX3's IDE function: slot 1, function 1
    out32(0xcf8, 0x80000900 | reg);
    return in32(0xcfc);
}

static uint8_t wait(void) {
    uint8_t status;
    do {
        status = in8(kStatus);
    } while ((status & kBusy) != 0);
    return status;
}

static void command(uint8_t code, uint32_t sector, uint8_t count) {
    out8(kDevice, (uint8_t)(kLba | sector >> 24));
    wait();
    out8(kCount, count);
    out8(kLow, (uint8_t)sector);
    out8(kMid, (uint8_t)(sector >> 8));
    out8(kHigh, (uint8_t)(sector >> 16));
    out8(kStatus, code);
}

static void read_words(uint16_t* to) {
    uint32_t count = kWords;
    __asm__ volatile("rep insw" : "+D"(to), "+c"(count) : "d"(kData) : "memory");
}

static bool pio_read(uint32_t sector, uint8_t count) {
    command(kRead, sector, count);
    for (uint8_t i = 0; i < count; ++i) {
        if ((wait() & (kDataRequest | kError)) != kDataRequest) return false;
        read_words(buffer + i * kWords);
    }
    return (wait() & (kDataRequest | kError)) == 0;
}

// Two regions, so that the table counts. Returns the status of the bus master.
static uint8_t dma(uint16_t master, uint8_t code, uint32_t sector, uint8_t count, bool to_memory) {
    const uint32_t first = 0x300, all = count * 512u;
    table[0].address = (uint32_t)(uintptr_t)buffer;
    table[0].count = first;
    table[1].address = (uint32_t)(uintptr_t)buffer + first;
    table[1].count = (all - first) | 0x80000000u;
    out32((uint16_t)(master + 4), (uint32_t)(uintptr_t)table);
    out8((uint16_t)(master + 2), 0x06);
    out8(master, to_memory ? 8 : 0);
    command(code, sector, count);
    out8(master, to_memory ? 9 : 1);
    uint8_t status;
    do {
        status = in8((uint16_t)(master + 2));
    } while ((status & 0x06) == 0);
    wait();
    out8(master, 0);
    return status & 0x06;
}

static void clear(void) {
    for (int i = 0; i < kSectors * kWords; ++i) buffer[i] = 0;
}

static void report(const char* what, int sectors) {
    uint32_t sum = 0;
    for (int i = 0; i < sectors * kWords; ++i) sum = sum * 31 + buffer[i];
    print(what);
    print_hex(sum, 8);
    print("\n");
}

int guest_main(void) {
    serial_open();
    out8(kControl, 0);  // the bus master needs the interrupt wire; the CPU does not look at it here
    const uint16_t master = (uint16_t)(config(0x20) & 0xfff0);
    out32(0xcf8, 0x80000904);
    out32(0xcfc, config(0x04) | 5);  // ports, bus master

    command(kIdentify, 0, 0);
    if ((wait() & kDataRequest) == 0) {
        print("no disk\n");
        return 1;
    }
    read_words(buffer);
    print("sectors ");
    print_decimal(buffer[60] | (uint32_t)buffer[61] << 16);
    print("\n");

    if (!pio_read(0, kSectors)) print("PIO failed\n");
    report("PIO ", kSectors);
    clear();
    if (dma(master, kReadDma, 0, kSectors, true) != 4) print("DMA failed\n");
    report("DMA ", kSectors);

    // Written by DMA, read by PIO, and the other way round.
    for (int i = 0; i < 2 * kWords; ++i) buffer[i] = (uint16_t)(i * 3);
    if (dma(master, kWriteDma, 40, 2, false) != 4) print("DMA write failed\n");
    clear();
    pio_read(40, 2);
    report("written by DMA ", 2);
    command(kWrite, 50, 1);
    wait();
    for (int i = 0; i < kWords; ++i) out16(kData, (uint16_t)(i * 5));
    wait();
    command(kFlush, 0, 0);
    wait();
    clear();
    dma(master, kReadDma, 50, 2, true);
    report("written by PIO ", 2);

    command(kRead, 64, 1);  // past the end
    print((wait() & kError) != 0 ? "no sector 64\n" : "a sector 64\n");
    return 0;
}
