"""An AWS account on this machine: MiniStack, mended where a user or the AWS provider would notice that it is not AWS.

`python -m rehearsal.account PORT` serves it. Importing this package alone starts and changes nothing.
"""
