// The most memory of a command that was resident at a time, in KiB:
//
//     peak_memory FILE COMMAND...      writes the number to FILE; the status is the command's
//
// getrusage() counts a process from its fork on, when it is still a copy of its parent: this one is small.
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char** argv) {
    if (argc < 3) errx(2, "usage: peak_memory FILE COMMAND...");
    const pid_t child = fork();
    if (child < 0) err(2, "fork");
    if (child == 0) {
        execvp(argv[2], argv + 2);
        err(127, "%s", argv[2]);
    }
    int status;
    struct rusage usage;
    if (wait4(child, &status, 0, &usage) < 0) err(2, "wait4");
    FILE* file = fopen(argv[1], "w");
    if (file == NULL || fprintf(file, "%ld\n", usage.ru_maxrss) < 0 || fclose(file) != 0) err(2, "%s", argv[1]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
