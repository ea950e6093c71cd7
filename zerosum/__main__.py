"""`python -m zerosum`, as launchers of several processes need it: torchrun --nproc-per-node 2 -m zerosum train"""

from zerosum.cli import main

if __name__ == "__main__":
    main()
