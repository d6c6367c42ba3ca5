// Double arithmetic: the sun and four planets under gravity, `size` steps of a hundredth of a day each; the checksum is
// the bits of the energy that is left. Each step changes velocities first, then places (symplectic Euler).
#include "workload.h"

enum { kBodies = 5 };

struct Body {
    double x, y, z, vx, vy, vz, mass;
};

// Astronomical units, years, and masses of which 4 π² are the sun's: about what the outer planets have.
static const struct Body initial[kBodies] = {
    {0, 0, 0, 0, 0, 0, 39.47841760435743},
    {4.84, -1.16, -0.10, 0.606, 2.81, -0.0252, 0.0376},
    {8.34, 4.12, -0.40, -1.01, 1.82, 0.0084, 0.0113},
    {12.89, -15.11, -0.22, 1.08, 0.868, -0.0108, 0.00172},
    {15.37, -25.91, 0.18, 0.979, 0.594, -0.0347, 0.00203},
};

static void pull(struct Body* bodies, double step) {
    for (int i = 0; i < kBodies; ++i) {
        struct Body* a = &bodies[i];
        for (int j = i + 1; j < kBodies; ++j) {
            struct Body* b = &bodies[j];
            const double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            const double square = dx * dx + dy * dy + dz * dz;
            const double strength = step / (square * __builtin_sqrt(square));
            a->vx -= dx * b->mass * strength;
            a->vy -= dy * b->mass * strength;
            a->vz -= dz * b->mass * strength;
            b->vx += dx * a->mass * strength;
            b->vy += dy * a->mass * strength;
            b->vz += dz * a->mass * strength;
        }
    }
}

static double energy(const struct Body* bodies) {
    double sum = 0;
    for (int i = 0; i < kBodies; ++i) {
        const struct Body* a = &bodies[i];
        sum += 0.5 * a->mass * (a->vx * a->vx + a->vy * a->vy + a->vz * a->vz);
        for (int j = i + 1; j < kBodies; ++j) {
            const struct Body* b = &bodies[j];
            const double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            sum -= a->mass * b->mass / __builtin_sqrt(dx * dx + dy * dy + dz * dz);
        }
    }
    return sum;
}

static uint64_t simulate(uint64_t size, unsigned char* memory) {
    struct Body* bodies = (struct Body*)memory;
    for (int i = 0; i < kBodies; ++i) bodies[i] = initial[i];
    const double step = 0.01 / 365.25;
    for (uint64_t n = 0; n < size; ++n) {
        pull(bodies, step);
        for (int i = 0; i < kBodies; ++i) {
            bodies[i].x += step * bodies[i].vx;
            bodies[i].y += step * bodies[i].vy;
            bodies[i].z += step * bodies[i].vz;
        }
    }
    const union {
        double number;
        uint64_t bits;
    } left = {.number = energy(bodies)};
    return left.bits;
}

const struct Workload workload = {"nbody", 25000, simulate, 1};
