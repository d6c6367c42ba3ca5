// Preloaded: every fsync() and fdatasync() fails as on a disk that has gone.
#include <errno.h>

static int fail(void) {
    errno = EIO;
    return -1;
}

int fsync(int file) {
    (void)file;
    return fail();
}

int fdatasync(int file) {
    (void)file;
    return fail();
}
