"""torch's optimisers without the compiler that they import.

`torch.optim.Optimizer` keeps its methods from being compiled, and imports the compiler for it at
their first call: 1.2 processor-seconds of every job. Nothing is compiled here, so the same methods
are used without that wrapper; they compute the same to the bit.
"""

import inspect

import torch
from torch.optim import Optimizer


class _Plain(Optimizer):
    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)


class Adam(_Plain, torch.optim.Adam):
    """`torch.optim.Adam`.

    Examples
    --------
    >>> x = torch.ones(1, requires_grad=True)
    >>> x.sum().backward()
    >>> Adam([x], lr=0.5).step()
    >>> round(x.item(), 4)
    0.5
    """

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class SGD(_Plain, torch.optim.SGD):
    """`torch.optim.SGD`.

    Examples
    --------
    >>> x = torch.ones(1, requires_grad=True)
    >>> x.sum().backward()
    >>> SGD([x], lr=0.25).step()
    >>> x.tolist()
    [0.75]
    """

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))
