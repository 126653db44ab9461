// Nothing to call: see visible_locks.c.
