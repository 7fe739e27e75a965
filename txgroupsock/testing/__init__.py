"""For tests of programs that use this package: several real hosts on one machine."""
