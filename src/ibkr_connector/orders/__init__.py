"""An order's life: pure state and rules, the journal that outlives the program, and the manager that sends."""
