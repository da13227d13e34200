"""What an engine did, as data, and all that reads it.

recording    the data: tasks, who waited for whom, when and where each ran
recorder     fills one while an engine runs
accesses     what the serial program asks for, from the declared accesses alone
check        the happens-before check (`window`: its bit sets)
timeline     why a task waited, the critical path, the use of lanes
trace        for Perfetto and Chrome
whatif       the same run on other workers and links (`clock`: the virtual clock)
report       predicted beside measured times
"""
