/* The simulator's part in `make test`: itself checked, then small networks under every fault. */
#ifndef TESTS_SCALE_SEEDS_H
#define TESTS_SCALE_SEEDS_H

int scale_seeds(void); /* prints "N passed, N failed"; 0 when none failed */

#endif
